#compdef claviger
# Completion of claviger for zsh: source <(claviger completion zsh), after compinit.
# The program itself says what may follow, so this script never has to change with it.

_claviger() {
  local -a found described
  local entry value files=0 open=0
  found=("${(@f)$("${words[1]}" __complete zsh "${(@Q)words[1,CURRENT]}" 2>/dev/null)}")
  for entry in "${found[@]}"; do
    case $entry in
      '') ;;
      :files) files=1 ;;
      :open) open=1 ;;
      *)
        value=${entry%%$'\t'*}
        described+=("${value//:/\\:}:${entry#*$'\t'}")
        ;;
    esac
  done
  if (( ${#described} )); then
    if (( open )); then
      _describe -t values value described -S ''
    else
      _describe -t values value described
    fi
  fi
  (( files )) && _files
  return 0
}

(( $+functions[compdef] )) && compdef _claviger claviger
