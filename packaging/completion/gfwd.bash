# What bash completes after gfwd. Made by build/completion.py.

_gfwd_ports() {
	local interface
	for interface in /sys/class/net/*; do
		[[ -e $interface ]] && printf 'xdp:%s\n' "${interface##*/}"
	done
}

# What the option of a command takes: file, port, other, or words to choose from; nothing: it takes nothing.
_gfwd_takes() {
	case $1 in
	" run -c" | " run --config") echo "file" ;;
	" run --rules") echo "file" ;;
	" run --in") echo "port" ;;
	" run --out") echo "port" ;;
	" run --port") echo "port" ;;
	" run --address") echo "other" ;;
	" run --listen") echo "other" ;;
	" run --loss") echo "other" ;;
	" run --mac") echo "other" ;;
	" run --workers") echo "other" ;;
	" run --cpu") echo "other" ;;
	" run --control") echo "file" ;;
	" run --sample") echo "other" ;;
	" status -c" | " status --config") echo "file" ;;
	" status --control") echo "file" ;;
	" neighbours -c" | " neighbours --config") echo "file" ;;
	" neighbours --control") echo "file" ;;
	" reload -c" | " reload --config") echo "file" ;;
	" reload --control") echo "file" ;;
	" stop -c" | " stop --config") echo "file" ;;
	" stop --control") echo "file" ;;
	" names -c" | " names --config") echo "file" ;;
	" names --control") echo "file" ;;
	" unknown -c" | " unknown --config") echo "file" ;;
	" unknown --control") echo "file" ;;
	" unknown --sort") echo "rate packets last" ;;
	" unknown --since") echo "other" ;;
	" replay -o" | " replay --output") echo "file" ;;
	" replay --rules") echo "file" ;;
	" replay -c" | " replay --config") echo "file" ;;
	" replay --address") echo "other" ;;
	" replay --listen") echo "other" ;;
	" replay --neighbour") echo "other" ;;
	" check -c" | " check --config") echo "file" ;;
	" check --rules") echo "file" ;;
	" explain -c" | " explain --config") echo "file" ;;
	" explain --rules") echo "file" ;;
	" explain --listen") echo "other" ;;
	" explain --source-port") echo "other" ;;
	" diff --traffic") echo "file" ;;
	" diff --listen") echo "other" ;;
	" import --port") echo "other" ;;
	" inspect -c" | " inspect --config") echo "file" ;;
	" inspect --control") echo "file" ;;
	" inspect --rule") echo "other" ;;
	" inspect -p") echo "other" ;;
	" inspect --exporter") echo "other" ;;
	" inspect --port") echo "other" ;;
	" inspect --count") echo "other" ;;
	" inspect --sample") echo "other" ;;
	" inspect -w") echo "file" ;;
	" doctor -c" | " doctor --config") echo "file" ;;
	" doctor --rules") echo "file" ;;
	" doctor --in") echo "port" ;;
	" doctor --out") echo "port" ;;
	" doctor --port") echo "port" ;;
	" doctor --address") echo "other" ;;
	" doctor --listen") echo "other" ;;
	" doctor --loss") echo "other" ;;
	" doctor --mac") echo "other" ;;
	" doctor --workers") echo "other" ;;
	" doctor --cpu") echo "other" ;;
	" lab --rate") echo "other" ;;
	" lab --seconds") echo "other" ;;
	" lab --rules") echo "file" ;;
	" bench core --repeats") echo "other" ;;
	" bench core --rounds") echo "other" ;;
	" bench core --case") echo "other" ;;
	esac
}

# The commands inside a command.
_gfwd_inner() {
	case $1 in
	"") echo "run status neighbours reload stop names unknown replay check explain diff import inspect doctor lab bench" ;;
	" bench") echo "core counted" ;;
	esac
}

# What stands at a place of a command: behind so many others.
_gfwd_place() {
	case $1 in
	" replay 0") echo "file" ;;
	" explain "*) echo "other" ;;
	" diff 0") echo "file" ;;
	" diff 1") echo "file" ;;
	" import 0") echo "samplicator pmacct nfcapd" ;;
	" import 1") echo "file" ;;
	" inspect 0") echo "file" ;;
	" lab 0") echo "file" ;;
	" bench counted 0") echo "file" ;;
	esac
}

_gfwd_options() {
	case $1 in
	"") echo "-h --help --version --licences" ;;
	" run") echo "-h --help -c --config --rules --in --out --port --address --listen --loss --mac --workers --cpu --control --json --debug --sample" ;;
	" status") echo "-h --help -c --config --control --loss --json" ;;
	" neighbours") echo "-h --help -c --config --control --json" ;;
	" reload") echo "-h --help -c --config --control --dry-run" ;;
	" stop") echo "-h --help -c --config --control" ;;
	" names") echo "-h --help -c --config --control --json" ;;
	" unknown") echo "-h --help -c --config --control --suggest --sort --since --json" ;;
	" replay") echo "-h --help -o --output --rules -c --config --json --address --listen --neighbour" ;;
	" check") echo "-h --help -c --config --rules --all --print --json" ;;
	" explain") echo "-h --help -c --config --rules --listen --source-port --live --all --json" ;;
	" diff") echo "-h --help --traffic --listen --all --json" ;;
	" import") echo "-h --help --port --all --json" ;;
	" inspect") echo "-h --help --live -c --config --control --rule -v --verbose --summary --loss --json -p --exporter --port --count --sample -w" ;;
	" doctor") echo "-h --help -c --config --rules --in --out --port --address --listen --loss --mac --workers --cpu --json" ;;
	" lab") echo "-h --help --rate --seconds --rules --json" ;;
	" bench") echo "-h --help" ;;
	" bench core") echo "-h --help --json --instructions --repeats --rounds --case" ;;
	" bench counted") echo "-h --help" ;;
	esac
}

_gfwd() {
	local line=${COMP_LINE:0:COMP_POINT} words word command="" place=0 skips="" cur prev offered i
	# Words by spaces, since bash parts them at colons, too. A space behind a backslash is none.
	# shellcheck disable=SC2162
	IFS=$' \t' read -a words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	cur=${words[${#words[@]} - 1]}
	prev=${words[${#words[@]} - 2]}
	for ((i = 1; i < ${#words[@]} - 1; i++)); do
		word=${words[i]}
		if [[ -n $skips ]]; then
			skips=""
		elif [[ $word == -* ]]; then
			[[ -n $(_gfwd_takes "$command $word") ]] && skips=1
		elif [[ " $(_gfwd_inner "$command") " == *" $word "* ]]; then
			command+=" $word"
		else
			((place += 1))
		fi
	done
	if [[ $cur == --*=* ]]; then
		prev=${cur%%=*}
		cur=${cur#*=}
		skips=1
	fi
	if [[ -n $skips ]]; then
		offered=$(_gfwd_takes "$command $prev")
	elif [[ $cur == -* ]]; then
		offered=$(_gfwd_options "$command")
	else
		offered=$(_gfwd_inner "$command")$(_gfwd_place "$command $place")
	fi
	case $offered in
	file) return ;; # bash's own way
	port) offered=$(_gfwd_ports) ;;
	other) offered="" ;;
	esac
	compopt +o default
	mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$cur")
	# What stands before a colon is no part of the word that bash replaces.
	[[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
}

complete -o default -F _gfwd gfwd
