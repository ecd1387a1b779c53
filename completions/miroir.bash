# miroir completions for bash, written by docs/generate.py; change the commands, then run `make docs`.
# Load it with `source <(miroir completions bash)`, or put it where bash-completion looks:
#   miroir completions bash > ~/.local/share/bash-completion/completions/miroir

# The commands below a group.
_miroir_commands() {
    case "$1" in
        "miroir") echo 'demo init dev index alias import export get browse delete search similar facet-search serve status node rebalance tasks doctor verify repair backup journal state locate explain config plan-capacity completions schema' ;;
        "miroir node") echo 'list add drain remove replace' ;;
        "miroir rebalance") echo 'plan run status pause resume rate cancel' ;;
        "miroir tasks") echo 'list show wait cancel' ;;
        "miroir journal") echo 'list show' ;;
        "miroir config") echo 'check show' ;;
        "miroir index") echo 'create list show stats delete swap rename unfreeze settings' ;;
        "miroir index settings") echo 'get set reset diff' ;;
        "miroir alias") echo 'list show create flip delete' ;;
        "miroir backup") echo 'create list show verify prune restore' ;;
        "miroir state") echo recover ;;
        "miroir dev") echo 'up down status node' ;;
    esac
}

# The options of a command.
_miroir_options() {
    case "$1" in
        "miroir") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --version --help -h' ;;
        "miroir init") echo '--node --name --shards --replicas --key-env --state --password-env --no-check --force --dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir status") echo '--map -m --watch -w --interval --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir verify") echo '--sample --rate --parallel --restart --metrics-file --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir repair") echo '--prefer --compare --no-compare --accept-data-loss --from --parallel --rate --watch -w --interval --metrics-file --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir node") echo '--help -h' ;;
        "miroir node list") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir node add") echo '--group --zone --weight --key-env --key-file --key-command --parallel --rate --retry-for --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir node drain") echo '--parallel --rate --retry-for --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir node remove") echo '--no-drain --force --parallel --rate --retry-for --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir node replace") echo '--force --parallel --rate --retry-for --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir rebalance") echo '--help -h' ;;
        "miroir rebalance plan") echo '--detailed-exitcode --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir rebalance run") echo '--parallel --rate --window --max-duration --retry-for --metrics-file --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir rebalance status") echo '--watch -w --interval --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir rebalance pause") echo '--dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir rebalance resume") echo '--rate --parallel --window --max-duration --retry-for --dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir rebalance rate") echo '--dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir rebalance cancel") echo '--dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir tasks") echo '--help -h' ;;
        "miroir tasks list") echo '--index --node --status --since --limit -n --client --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir tasks show") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir tasks wait") echo '--index --node --timeout --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir tasks cancel") echo '--accept-data-loss --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir journal") echo '--help -h' ;;
        "miroir journal list") echo '--since --who --failed --command --limit -n --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir journal show") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir doctor") echo '--check --skip --fail-on --list-checks --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir config") echo '--help -h' ;;
        "miroir config check") echo '--online --fail-on --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir config show") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index") echo '--help -h' ;;
        "miroir index create") echo '--primary-key -k --shards --replicas --settings --no-tie-break --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index list") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index show") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index stats") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index delete") echo '--dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index swap") echo '--dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index rename") echo '--dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index unfreeze") echo '--dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index settings") echo '--help -h' ;;
        "miroir index settings get") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index settings set") echo '--file --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index settings reset") echo '--dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir index settings diff") echo '--detailed-exitcode --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir alias") echo '--help -h' ;;
        "miroir alias list") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir alias show") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir alias create") echo '--several --dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir alias flip") echo '--from --dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir alias delete") echo '--dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir import") echo '--format --delimiter --rejects --update --create --primary-key -k --restart --batch-bytes --retry-for --metrics-file --from --from-index --all --key-env --shards --settings --rate --delete --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir get") echo '--fields --attributes -a --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir delete") echo '--filter -f --all --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir search") echo '--filter -f --sort -s --distinct --matching-strategy --ranking-score-threshold --fields --attributes -a --limit -n --offset --page --hits-per-page --facets --highlight --embedder -e --semantic-ratio --vector --body --multi --partial --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir similar") echo '--embedder -e --filter -f --ranking-score-threshold --fields --attributes -a --limit -n --offset --body --partial --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir explain") echo '--filter -f --body --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir locate") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir facet-search") echo '--words --filter -f --matching-strategy --exhaustive --body --partial --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir browse") echo '--filter -f --ids --sort -s --fields --attributes -a --vectors --limit -n --offset --body --partial --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir export") echo '--output -o --format --filter -f --fields --attributes -a --vectors --to --to-index --key-env --rate --delete --dry-run --yes -y --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir backup") echo '--help -h' ;;
        "miroir backup create") echo '--index --with-keys --with-secrets --parallel --rate --retry-for --file-bytes --compression --restart --dry-run --metrics-file --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir backup list") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir backup show") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir backup verify") echo '--index --live --metrics-file --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir backup prune") echo '--keep-last --keep-daily --keep-weekly --keep-monthly --keep-within --yes -y --dry-run --metrics-file --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir backup restore") echo '--index --as --to --key-env --shards --replicas --settings --replace --compare --retry-for --yes -y --dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir serve") echo '--host --port -p --workers --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir state") echo '--help -h' ;;
        "miroir state recover") echo '--accept-loss --yes -y --dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir schema") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir plan-capacity") echo '--documents --bytes-per-document --queries-per-second --database-ratio --from-cluster --nodes --replicas --groups --node-cores --node-memory --node-disk --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir dev") echo '--help -h' ;;
        "miroir dev up") echo '--nodes --port -p --engine --proxies --state --proxy-port --within --dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir dev down") echo '--dry-run --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir dev status") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir dev node") echo '--port -p --data --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir demo") echo '--keep --engine --port -p --plain --topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
        "miroir completions") echo '--topology -t --json --quiet -q --verbose -v --no-color --progress --help -h' ;;
    esac
}

# What an option is followed by; nothing for a switch.
_miroir_value() {
    case "$1 $2" in
        *" --topology") echo files ;;
        *" -t") echo files ;;
        *" --progress") echo 'words auto bar plain json none' ;;
        "miroir init --node") echo any ;;
        "miroir init --name") echo any ;;
        "miroir init --shards") echo any ;;
        "miroir init --replicas") echo any ;;
        "miroir init --key-env") echo any ;;
        "miroir init --state") echo any ;;
        "miroir init --password-env") echo any ;;
        "miroir status --interval") echo any ;;
        "miroir verify --sample") echo any ;;
        "miroir verify --rate") echo any ;;
        "miroir verify --parallel") echo any ;;
        "miroir verify --metrics-file") echo files ;;
        "miroir repair --prefer") echo nodes ;;
        "miroir repair --from") echo nodes ;;
        "miroir repair --parallel") echo any ;;
        "miroir repair --rate") echo any ;;
        "miroir repair --interval") echo any ;;
        "miroir repair --metrics-file") echo files ;;
        "miroir node add --group") echo any ;;
        "miroir node add --zone") echo any ;;
        "miroir node add --weight") echo any ;;
        "miroir node add --key-env") echo any ;;
        "miroir node add --key-file") echo files ;;
        "miroir node add --key-command") echo any ;;
        "miroir node add --parallel") echo any ;;
        "miroir node add --rate") echo any ;;
        "miroir node add --retry-for") echo any ;;
        "miroir node drain --parallel") echo any ;;
        "miroir node drain --rate") echo any ;;
        "miroir node drain --retry-for") echo any ;;
        "miroir node remove --parallel") echo any ;;
        "miroir node remove --rate") echo any ;;
        "miroir node remove --retry-for") echo any ;;
        "miroir node replace --parallel") echo any ;;
        "miroir node replace --rate") echo any ;;
        "miroir node replace --retry-for") echo any ;;
        "miroir rebalance run --parallel") echo any ;;
        "miroir rebalance run --rate") echo any ;;
        "miroir rebalance run --window") echo any ;;
        "miroir rebalance run --max-duration") echo any ;;
        "miroir rebalance run --retry-for") echo any ;;
        "miroir rebalance run --metrics-file") echo files ;;
        "miroir rebalance status --interval") echo any ;;
        "miroir rebalance resume --rate") echo any ;;
        "miroir rebalance resume --parallel") echo any ;;
        "miroir rebalance resume --window") echo any ;;
        "miroir rebalance resume --max-duration") echo any ;;
        "miroir rebalance resume --retry-for") echo any ;;
        "miroir tasks list --index") echo indexes ;;
        "miroir tasks list --node") echo nodes ;;
        "miroir tasks list --status") echo any ;;
        "miroir tasks list --since") echo any ;;
        "miroir tasks list --limit") echo any ;;
        "miroir tasks list -n") echo any ;;
        "miroir tasks wait --index") echo indexes ;;
        "miroir tasks wait --node") echo nodes ;;
        "miroir tasks wait --timeout") echo any ;;
        "miroir journal list --since") echo any ;;
        "miroir journal list --who") echo any ;;
        "miroir journal list --command") echo any ;;
        "miroir journal list --limit") echo any ;;
        "miroir journal list -n") echo any ;;
        "miroir doctor --check") echo any ;;
        "miroir doctor --skip") echo any ;;
        "miroir doctor --fail-on") echo 'words error warning info none' ;;
        "miroir config check --fail-on") echo 'words error warning info none' ;;
        "miroir index create --primary-key") echo any ;;
        "miroir index create -k") echo any ;;
        "miroir index create --shards") echo any ;;
        "miroir index create --replicas") echo any ;;
        "miroir index create --settings") echo files ;;
        "miroir index settings set --file") echo files ;;
        "miroir alias flip --from") echo indexes ;;
        "miroir import --format") echo 'words ndjson json csv parquet' ;;
        "miroir import --delimiter") echo any ;;
        "miroir import --rejects") echo files ;;
        "miroir import --primary-key") echo any ;;
        "miroir import -k") echo any ;;
        "miroir import --batch-bytes") echo any ;;
        "miroir import --retry-for") echo any ;;
        "miroir import --metrics-file") echo files ;;
        "miroir import --from") echo any ;;
        "miroir import --from-index") echo any ;;
        "miroir import --key-env") echo any ;;
        "miroir import --shards") echo any ;;
        "miroir import --settings") echo files ;;
        "miroir import --rate") echo any ;;
        "miroir get --fields") echo any ;;
        "miroir get --attributes") echo any ;;
        "miroir get -a") echo any ;;
        "miroir delete --filter") echo any ;;
        "miroir delete -f") echo any ;;
        "miroir search --filter") echo any ;;
        "miroir search -f") echo any ;;
        "miroir search --sort") echo any ;;
        "miroir search -s") echo any ;;
        "miroir search --distinct") echo any ;;
        "miroir search --matching-strategy") echo 'words last all frequency' ;;
        "miroir search --ranking-score-threshold") echo any ;;
        "miroir search --fields") echo any ;;
        "miroir search --attributes") echo any ;;
        "miroir search -a") echo any ;;
        "miroir search --limit") echo any ;;
        "miroir search -n") echo any ;;
        "miroir search --offset") echo any ;;
        "miroir search --page") echo any ;;
        "miroir search --hits-per-page") echo any ;;
        "miroir search --facets") echo any ;;
        "miroir search --highlight") echo any ;;
        "miroir search --embedder") echo any ;;
        "miroir search -e") echo any ;;
        "miroir search --semantic-ratio") echo any ;;
        "miroir search --vector") echo any ;;
        "miroir search --body") echo files ;;
        "miroir search --multi") echo files ;;
        "miroir search --partial") echo 'words error allow' ;;
        "miroir similar --embedder") echo any ;;
        "miroir similar -e") echo any ;;
        "miroir similar --filter") echo any ;;
        "miroir similar -f") echo any ;;
        "miroir similar --ranking-score-threshold") echo any ;;
        "miroir similar --fields") echo any ;;
        "miroir similar --attributes") echo any ;;
        "miroir similar -a") echo any ;;
        "miroir similar --limit") echo any ;;
        "miroir similar -n") echo any ;;
        "miroir similar --offset") echo any ;;
        "miroir similar --body") echo files ;;
        "miroir similar --partial") echo 'words error allow' ;;
        "miroir explain --filter") echo any ;;
        "miroir explain -f") echo any ;;
        "miroir explain --body") echo files ;;
        "miroir facet-search --words") echo any ;;
        "miroir facet-search --filter") echo any ;;
        "miroir facet-search -f") echo any ;;
        "miroir facet-search --matching-strategy") echo 'words last all frequency' ;;
        "miroir facet-search --body") echo files ;;
        "miroir facet-search --partial") echo 'words error allow' ;;
        "miroir browse --filter") echo any ;;
        "miroir browse -f") echo any ;;
        "miroir browse --ids") echo any ;;
        "miroir browse --sort") echo any ;;
        "miroir browse -s") echo any ;;
        "miroir browse --fields") echo any ;;
        "miroir browse --attributes") echo any ;;
        "miroir browse -a") echo any ;;
        "miroir browse --limit") echo any ;;
        "miroir browse -n") echo any ;;
        "miroir browse --offset") echo any ;;
        "miroir browse --body") echo files ;;
        "miroir browse --partial") echo 'words error allow' ;;
        "miroir export --output") echo files ;;
        "miroir export -o") echo files ;;
        "miroir export --format") echo 'words ndjson json' ;;
        "miroir export --filter") echo any ;;
        "miroir export -f") echo any ;;
        "miroir export --fields") echo any ;;
        "miroir export --attributes") echo any ;;
        "miroir export -a") echo any ;;
        "miroir export --to") echo any ;;
        "miroir export --to-index") echo any ;;
        "miroir export --key-env") echo any ;;
        "miroir export --rate") echo any ;;
        "miroir backup create --index") echo indexes ;;
        "miroir backup create --parallel") echo any ;;
        "miroir backup create --rate") echo any ;;
        "miroir backup create --retry-for") echo any ;;
        "miroir backup create --file-bytes") echo any ;;
        "miroir backup create --compression") echo 'words zstd gzip' ;;
        "miroir backup create --metrics-file") echo files ;;
        "miroir backup verify --index") echo indexes ;;
        "miroir backup verify --metrics-file") echo files ;;
        "miroir backup prune --keep-last") echo any ;;
        "miroir backup prune --keep-daily") echo any ;;
        "miroir backup prune --keep-weekly") echo any ;;
        "miroir backup prune --keep-monthly") echo any ;;
        "miroir backup prune --keep-within") echo any ;;
        "miroir backup prune --metrics-file") echo files ;;
        "miroir backup restore --index") echo indexes ;;
        "miroir backup restore --as") echo any ;;
        "miroir backup restore --to") echo any ;;
        "miroir backup restore --key-env") echo any ;;
        "miroir backup restore --shards") echo any ;;
        "miroir backup restore --replicas") echo any ;;
        "miroir backup restore --settings") echo files ;;
        "miroir backup restore --retry-for") echo any ;;
        "miroir serve --host") echo any ;;
        "miroir serve --port") echo any ;;
        "miroir serve -p") echo any ;;
        "miroir serve --workers") echo any ;;
        "miroir state recover --accept-loss") echo nodes ;;
        "miroir plan-capacity --documents") echo any ;;
        "miroir plan-capacity --bytes-per-document") echo any ;;
        "miroir plan-capacity --queries-per-second") echo any ;;
        "miroir plan-capacity --database-ratio") echo any ;;
        "miroir plan-capacity --from-cluster") echo indexes ;;
        "miroir plan-capacity --nodes") echo any ;;
        "miroir plan-capacity --replicas") echo any ;;
        "miroir plan-capacity --groups") echo any ;;
        "miroir plan-capacity --node-cores") echo any ;;
        "miroir plan-capacity --node-memory") echo any ;;
        "miroir plan-capacity --node-disk") echo any ;;
        "miroir dev up --nodes") echo any ;;
        "miroir dev up --port") echo any ;;
        "miroir dev up -p") echo any ;;
        "miroir dev up --engine") echo 'words auto meilisearch embedded' ;;
        "miroir dev up --proxies") echo any ;;
        "miroir dev up --state") echo 'words sqlite redis' ;;
        "miroir dev up --proxy-port") echo any ;;
        "miroir dev up --within") echo any ;;
        "miroir dev node --port") echo any ;;
        "miroir dev node -p") echo any ;;
        "miroir dev node --data") echo folders ;;
        "miroir demo --engine") echo 'words auto meilisearch embedded' ;;
        "miroir demo --port") echo any ;;
        "miroir demo -p") echo any ;;
    esac
}

# What stands at a position.
_miroir_argument() {
    case "$1 $2" in
        "miroir verify 0") echo indexes ;;
        "miroir repair 0") echo indexes ;;
        "miroir node drain "*) echo nodes ;;
        "miroir node remove "*) echo nodes ;;
        "miroir node replace 0") echo nodes ;;
        "miroir journal show 0") echo entries ;;
        "miroir index show 0") echo indexes ;;
        "miroir index stats 0") echo indexes ;;
        "miroir index delete 0") echo indexes ;;
        "miroir index swap 0") echo indexes ;;
        "miroir index rename 0") echo indexes ;;
        "miroir index unfreeze 0") echo indexes ;;
        "miroir index settings get 0") echo indexes ;;
        "miroir index settings get "*) echo 'words displayedAttributes searchableAttributes filterableAttributes sortableAttributes rankingRules stopWords nonSeparatorTokens separatorTokens dictionary synonyms distinctAttribute proximityPrecision typoTolerance faceting pagination embedders searchCutoffMs localizedAttributes facetSearch prefixSearch' ;;
        "miroir index settings set 0") echo indexes ;;
        "miroir index settings reset 0") echo indexes ;;
        "miroir index settings reset "*) echo 'words displayedAttributes searchableAttributes filterableAttributes sortableAttributes rankingRules stopWords nonSeparatorTokens separatorTokens dictionary synonyms distinctAttribute proximityPrecision typoTolerance faceting pagination embedders searchCutoffMs localizedAttributes facetSearch prefixSearch' ;;
        "miroir index settings diff 0") echo indexes ;;
        "miroir index settings diff 1") echo files ;;
        "miroir alias show 0") echo aliases ;;
        "miroir alias create "*) echo indexes ;;
        "miroir alias flip 0") echo aliases ;;
        "miroir alias flip "*) echo indexes ;;
        "miroir alias delete 0") echo aliases ;;
        "miroir import 0") echo indexes ;;
        "miroir import "*) echo files ;;
        "miroir get 0") echo indexes ;;
        "miroir delete 0") echo indexes ;;
        "miroir search 0") echo indexes ;;
        "miroir similar 0") echo indexes ;;
        "miroir explain 0") echo indexes ;;
        "miroir locate 0") echo indexes ;;
        "miroir facet-search 0") echo indexes ;;
        "miroir browse 0") echo indexes ;;
        "miroir export 0") echo indexes ;;
        "miroir backup create 0") echo folders ;;
        "miroir backup list 0") echo folders ;;
        "miroir backup show 0") echo folders ;;
        "miroir backup show 1") echo backups ;;
        "miroir backup verify 0") echo folders ;;
        "miroir backup verify 1") echo backups ;;
        "miroir backup prune 0") echo folders ;;
        "miroir backup restore 0") echo folders ;;
        "miroir backup restore 1") echo backups ;;
        "miroir completions 0") echo 'words bash zsh fish' ;;
    esac
}

# Words and values are looked up in the tables above; what only the cluster knows is asked of miroir itself.
_miroir() {
    local cur=${COMP_WORDS[COMP_CWORD]} prefix= path=miroir position=0 expects= word joined= literal= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == [=:] ]]; then  # bash takes words apart there
            [[ -n $expects ]] || joined=1
        elif [[ -n $joined ]]; then
            joined=
        elif [[ -n $expects ]]; then
            expects=
        elif [[ -n $literal ]]; then
            ((position++))
        elif [[ $word == -- ]]; then
            literal=1
        elif [[ $word == -* ]]; then
            [[ $word == *=* ]] || expects=$(_miroir_value "$path" "$word")
        elif [[ " $(_miroir_commands "$path") " == *" $word "* ]]; then
            path+=" $word"
        else
            ((position++))
        fi
    done
    if [[ $cur == [=:] ]]; then
        [[ -n $expects ]] || joined=1
        cur=
    fi
    [[ -z $joined ]] || return 0
    if [[ -z $expects && -z $literal && $cur == --*=* ]]; then  # where `=` does not take words apart
        expects=$(_miroir_value "$path" "${cur%%=*}")
        prefix="${cur%%=*}="
        cur=${cur#*=}
    elif [[ -z $expects && -z $literal && $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$(_miroir_options "$path")" -- "$cur"))
        return 0
    elif [[ -z $expects ]]; then
        expects=$(_miroir_argument "$path" "$position")
        [[ -n $expects || $position != 0 ]] || expects="words $(_miroir_commands "$path")"
    fi
    _miroir_offer $expects
}

# Offer the values of a kind: `files`, `folders`, `words A B`, or what `miroir __complete` knows.
_miroir_offer() {
    local kind=$1 IFS=$'\n'
    shift
    case $kind in
        '' | any) return 0 ;;
        files) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")) ;;
        folders) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")) ;;
        words) COMPREPLY=($(compgen -W "$*" -- "$cur")) ;;
        *) # not by `compgen -W`, which would run what stands in `$( )` in a name
            local value
            while read -r value; do
                [[ $value != "$cur"* ]] || COMPREPLY+=("$value")
            done < <(_miroir_ask "$kind") ;;
    esac
    [[ -z $prefix ]] || COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
}

_miroir_ask() {
    local program=${COMP_WORDS[0]/#\~\//$HOME/}
    "$program" __complete "$1" "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null | cut -f 1
}

complete -F _miroir miroir
