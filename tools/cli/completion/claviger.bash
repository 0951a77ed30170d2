# Completion of claviger for bash: source <(claviger completion bash)
# The program itself says what may follow, so this script never has to change with it.

_claviger() {
  local line found=() entry
  line=${COMP_LINE:0:COMP_POINT}
  COMPREPLY=()
  while IFS= read -r entry; do
    found+=("$entry")
  done < <("${COMP_WORDS[0]}" __complete bash "$line" "$COMP_WORDBREAKS" 2>/dev/null)
  for entry in ${found[@]+"${found[@]}"}; do
    case $entry in
      :files)
        while IFS= read -r entry; do
          COMPREPLY+=("$entry")
        done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
        compopt -o filenames 2>/dev/null
        ;;
      :open) compopt -o nospace 2>/dev/null ;;
      *=) COMPREPLY+=("$entry"); compopt -o nospace 2>/dev/null ;;
      *) COMPREPLY+=("$entry") ;;
    esac
  done
}

complete -o nosort -F _claviger claviger
