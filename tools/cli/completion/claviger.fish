# Completion of claviger for fish: claviger completion fish | source
# The program itself says what may follow, so this script never has to change with it.

function __claviger_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for entry in ($words[1] __complete fish $words "$current" 2>/dev/null)
        switch $entry
            case :files
                __fish_complete_path "$current"
            case :open
            case '*'
                echo $entry
        end
    end
end

complete -c claviger -e
complete -c claviger -f -k -a '(__claviger_complete)'
