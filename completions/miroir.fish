# miroir completions for fish, written by docs/generate.py; change the commands, then run `make docs`.
# Load it with `miroir completions fish | source`, or put it where fish looks:
#   miroir completions fish > ~/.config/fish/completions/miroir.fish

# Options that are followed by a value.
set -g __miroir_valued --accept-loss --as --attributes --batch-bytes --body --bytes-per-document --check --command --compression --data --database-ratio --delimiter --distinct --documents --embedder --engine --facets --fail-on --fields --file --file-bytes --filter --format --from --from-cluster --from-index --group --groups --highlight --hits-per-page --host --ids --index --interval --keep-daily --keep-last --keep-monthly --keep-weekly --keep-within --key-command --key-env --key-file --limit --matching-strategy --max-duration --metrics-file --multi --name --node --node-cores --node-disk --node-memory --nodes --offset --output --page --parallel --partial --password-env --port --prefer --primary-key --progress --proxies --proxy-port --queries-per-second --ranking-score-threshold --rate --rejects --replicas --retry-for --sample --semantic-ratio --settings --shards --since --skip --sort --state --status --timeout --to --to-index --topology --vector --weight --who --window --within --words --workers --zone -a -e -f -k -n -o -p -s -t

# The words of the line so far that are neither options nor their values.
function __miroir_words
    set -l value
    set -l literal
    for token in (commandline -opc)[2..-1]
        if set -q value[1]
            set -e value[1]
        else if set -q literal[1]
            echo -- $token
        else if test "$token" = --
            set literal yes
        else if contains -- $token $__miroir_valued
            set value yes
        else if not string match -q -- '-*' $token
            echo -- $token
        end
    end
end

# Whether the line is at a command, and at this argument of it: a number, `from N` on, or `any`.
function __miroir_at --argument-names position
    set -l path $argv[2..-1]
    set -l words (__miroir_words)
    set -l more (math (count $words) - (count $path))
    test $more -ge 0; or return 1
    for i in (seq (count $path))
        test "$words[$i]" = "$path[$i]"; or return 1
    end
    switch $position
        case any
            return 0
        case 'from*'
            test $more -ge (string replace from '' -- $position)
        case '*'
            test $more -eq $position
    end
end

# What only the cluster knows is asked of miroir itself, with the line so far: it may name a topology file.
function __miroir_live
    set -l tokens (commandline -opc)
    eval (string escape -- (string replace -r '^~/' "$HOME/" -- $tokens[1])) __complete $argv[1] \
        (string escape -- $tokens[2..-1]) 2>/dev/null
end

complete -c miroir -e
complete -c miroir -f
complete -c miroir -s h -l help -d 'explain it'

# miroir
complete -c miroir -n '__miroir_at 0' -a demo -d 'Watch miroir work: real data on three nodes, and one that dies.'
complete -c miroir -n '__miroir_at 0' -a init -d 'Write a topology file, after asking the nodes if they answer.'
complete -c miroir -n '__miroir_at 0' -a dev -d 'Start and stop local nodes, without installing anything.'
complete -c miroir -n '__miroir_at 0' -a index -d 'Create, show and delete indexes, and change their settings.'
complete -c miroir -n '__miroir_at 0' -a alias -d 'Let a name stand for an index, and later for another one.'
complete -c miroir -n '__miroir_at 0' -a import -d 'Import documents from files, or copy them from one Meilisearch.'
complete -c miroir -n '__miroir_at 0' -a export -d 'Write all documents of an index to a file, print or copy them.'
complete -c miroir -n '__miroir_at 0' -a get -d 'Print a document as JSON.'
complete -c miroir -n '__miroir_at 0' -a browse -d 'List documents in the order of their primary keys, or sorted.'
complete -c miroir -n '__miroir_at 0' -a delete -d 'Delete documents by id, by filter, or all of them.'
complete -c miroir -n '__miroir_at 0' -a search -d 'Search an index over all its shards.'
complete -c miroir -n '__miroir_at 0' -a similar -d 'Find documents near another one by their vectors.'
complete -c miroir -n '__miroir_at 0' -a facet-search -d 'Find values of a facet by their beginning, with their counts.'
complete -c miroir -n '__miroir_at 0' -a serve -d 'Answer Meilisearch\'s API for the whole cluster until stopped.'
complete -c miroir -n '__miroir_at 0' -a status -d 'Show the nodes, the indexes and what is in sync.'
complete -c miroir -n '__miroir_at 0' -a node -d 'List, add, drain, remove and replace nodes.'
complete -c miroir -n '__miroir_at 0' -a rebalance -d 'Make the cluster what its topology file says, and steer runs.'
complete -c miroir -n '__miroir_at 0' -a tasks -d 'Look at the nodes\' queues, wait for them, and take tasks out.'
complete -c miroir -n '__miroir_at 0' -a doctor -d 'Check nodes, replicas, state and keys, and say what to type.'
complete -c miroir -n '__miroir_at 0' -a verify -d 'Compare the replicas of every shard, document by document.'
complete -c miroir -n '__miroir_at 0' -a repair -d 'Make replicas equal again.'
complete -c miroir -n '__miroir_at 0' -a backup -d 'Back up indexes as files, check, restore and thin them out.'
complete -c miroir -n '__miroir_at 0' -a journal -d 'Show what was done to the cluster, by whom and when.'
complete -c miroir -n '__miroir_at 0' -a state -d 'Bring back a lost state.'
complete -c miroir -n '__miroir_at 0' -a locate -d 'Show where a document lives: its shard and its nodes.'
complete -c miroir -n '__miroir_at 0' -a explain -d 'Show which nodes a search would ask for which shards, and why.'
complete -c miroir -n '__miroir_at 0' -a config -d 'Check the topology file, and show what it comes to.'
complete -c miroir -n '__miroir_at 0' -a plan-capacity -d 'Estimate what a cluster needs: disk, memory, time, searches.'
complete -c miroir -n '__miroir_at 0' -a completions -d 'Print the script that completes commands in your shell.'
complete -c miroir -n '__miroir_at 0' -a schema -d 'Print the JSON Schema of what a command prints with `--json`.'
complete -c miroir -l topology -s t -r -F -d 'The topology file; else MIROIR_TOPOLOGY, ./miroir.toml, ~/.config/miroir/miroir.toml.'
complete -c miroir -l json -d 'Print one JSON document on standard output.'
complete -c miroir -l quiet -s q -d 'Only results, warnings and errors.'
complete -c miroir -l verbose -s v -d 'Say more; -vv shows where an error came from.'
complete -c miroir -l no-color -d 'No colours (also: NO_COLOR).'
complete -c miroir -l progress -x -a 'auto bar plain json none' -d 'How to show it (auto: bars on a terminal, else lines); json: JSON Lines on standard error.'
complete -c miroir -n '__miroir_at 0' -l version -d 'Print the version and exit.'

# miroir init
complete -c miroir -n '__miroir_at any init' -l node -x -d 'A node; `,group=G`, `,zone=Z` and `,weight=W` may follow. Repeat it.'
complete -c miroir -n '__miroir_at any init' -l name -x -d 'The cluster\'s name (otherwise that of this folder).'
complete -c miroir -n '__miroir_at any init' -l shards -x -d 'Shards of a new index (otherwise 8 for each node, at least 24).'
complete -c miroir -n '__miroir_at any init' -l replicas -x -d 'Copies of each shard in each group (otherwise 2 where possible).'
complete -c miroir -n '__miroir_at any init' -l key-env -x -d 'The environment variable that holds the nodes\' key.'
complete -c miroir -n '__miroir_at any init' -l state -x -d 'Where the state is kept: `sqlite:PATH` here, or `redis://HOST:PORT/0` for several hosts.'
complete -c miroir -n '__miroir_at any init' -l password-env -x -d 'The environment variable that holds Redis\'s password.'
complete -c miroir -n '__miroir_at any init' -l no-check -d 'Do not ask the nodes.'
complete -c miroir -n '__miroir_at any init' -l force -d 'Replace a file that is there.'
complete -c miroir -n '__miroir_at any init' -l dry-run -d 'Show what would be done, and do nothing.'

# miroir status
complete -c miroir -n '__miroir_at any status' -l map -s m -d 'With a grid of nodes and shards for each index: which has what.'
complete -c miroir -n '__miroir_at any status' -l watch -s w -d 'Show it again and again until ctrl-C.'
complete -c miroir -n '__miroir_at any status' -l interval -x -d 'Pause between two looks.'

# miroir verify
complete -c miroir -n '__miroir_at any verify' -l sample -x -d 'Compare this share of the documents.'
complete -c miroir -n '__miroir_at any verify' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any verify' -l parallel -x -d 'Shards at the same time.'
complete -c miroir -n '__miroir_at any verify' -l restart -d 'Begin again instead of going on where one stopped.'
complete -c miroir -n '__miroir_at any verify' -l metrics-file -r -F -d 'When it ends, write how it went there, for node_exporter: FILE.prom in the folder that it reads.'
complete -c miroir -n '__miroir_at 0 verify' -a '(__miroir_live indexes)'

# miroir repair
complete -c miroir -n '__miroir_at any repair' -l prefer -x -a '(__miroir_live nodes)' -d 'Where in-sync replicas differ, take what this node has.'
complete -c miroir -n '__miroir_at any repair' -l compare -l no-compare -d 'Compare in-sync replicas and settings as well.'
complete -c miroir -n '__miroir_at any repair' -l accept-data-loss -d 'Let a stale replica serve where no other is left (asks, by shard).'
complete -c miroir -n '__miroir_at any repair' -l from -x -a '(__miroir_live nodes)' -d 'With --accept-data-loss: the node to take.'
complete -c miroir -n '__miroir_at any repair' -l parallel -x -d 'Shards at the same time.'
complete -c miroir -n '__miroir_at any repair' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any repair' -l watch -s w -d 'Keep mending what becomes stale, until ctrl-C.'
complete -c miroir -n '__miroir_at any repair' -l interval -x -d 'Pause between two looks.'
complete -c miroir -n '__miroir_at any repair' -l metrics-file -r -F -d 'When it ends, write how it went there, for node_exporter: FILE.prom in the folder that it reads.'
complete -c miroir -n '__miroir_at any repair' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any repair' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at 0 repair' -a '(__miroir_live indexes)'

# miroir node
complete -c miroir -n '__miroir_at 0 node' -a list -d 'List the nodes, with what each of them has.'
complete -c miroir -n '__miroir_at 0 node' -a add -d 'Add a node and move its share of the shards to it.'
complete -c miroir -n '__miroir_at 0 node' -a drain -d 'Move everything away from nodes, which stay in the topology file.'
complete -c miroir -n '__miroir_at 0 node' -a remove -d 'Take nodes out of the cluster, after moving all to others.'
complete -c miroir -n '__miroir_at 0 node' -a replace -d 'Put another node in the place of one, dead or alive.'

# miroir node list

# miroir node add
complete -c miroir -n '__miroir_at any node add' -l group -x -d 'Its replica group.'
complete -c miroir -n '__miroir_at any node add' -l zone -x -d 'Copies of a shard go to different zones.'
complete -c miroir -n '__miroir_at any node add' -l weight -x -d 'Its share of the shards, beside the others\'.'
complete -c miroir -n '__miroir_at any node add' -l key-env -x -d 'The variable that holds its key.'
complete -c miroir -n '__miroir_at any node add' -l key-file -r -F -d 'The file that holds its key.'
complete -c miroir -n '__miroir_at any node add' -l key-command -x -d 'What prints its key.'
complete -c miroir -n '__miroir_at any node add' -l parallel -x -d 'Shards at the same time.'
complete -c miroir -n '__miroir_at any node add' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any node add' -l retry-for -x -d 'How long to try again with nodes that are busy or away.'
complete -c miroir -n '__miroir_at any node add' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any node add' -l yes -s y -d 'Do not ask.'

# miroir node drain
complete -c miroir -n '__miroir_at any node drain' -l parallel -x -d 'Shards at the same time.'
complete -c miroir -n '__miroir_at any node drain' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any node drain' -l retry-for -x -d 'How long to try again with nodes that are busy or away.'
complete -c miroir -n '__miroir_at any node drain' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any node drain' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at from0 node drain' -a '(__miroir_live nodes)'

# miroir node remove
complete -c miroir -n '__miroir_at any node remove' -l no-drain -d 'Copy nothing from them: the other replicas are the source. For dead nodes.'
complete -c miroir -n '__miroir_at any node remove' -l force -d 'Give up the shards of which no other copy is left, with their documents.'
complete -c miroir -n '__miroir_at any node remove' -l parallel -x -d 'Shards at the same time.'
complete -c miroir -n '__miroir_at any node remove' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any node remove' -l retry-for -x -d 'How long to try again with nodes that are busy or away.'
complete -c miroir -n '__miroir_at any node remove' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any node remove' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at from0 node remove' -a '(__miroir_live nodes)'

# miroir node replace
complete -c miroir -n '__miroir_at any node replace' -l force -d 'Give up the shards of which no other copy is left, with their documents.'
complete -c miroir -n '__miroir_at any node replace' -l parallel -x -d 'Shards at the same time.'
complete -c miroir -n '__miroir_at any node replace' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any node replace' -l retry-for -x -d 'How long to try again with nodes that are busy or away.'
complete -c miroir -n '__miroir_at any node replace' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any node replace' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at 0 node replace' -a '(__miroir_live nodes)'

# miroir rebalance
complete -c miroir -n '__miroir_at 0 rebalance' -a plan -d 'Show what has to move to be what the topology file says.'
complete -c miroir -n '__miroir_at 0 rebalance' -a run -d 'Move what has to move, or go on with a run that stopped.'
complete -c miroir -n '__miroir_at 0 rebalance' -a status -d 'Show the run that is under way, or waits to go on.'
complete -c miroir -n '__miroir_at 0 rebalance' -a pause -d 'Hold the run that is under way, until `resume`.'
complete -c miroir -n '__miroir_at 0 rebalance' -a resume -d 'Let a paused run go on.'
complete -c miroir -n '__miroir_at 0 rebalance' -a rate -d 'Change how fast the run goes, also while it is under way.'
complete -c miroir -n '__miroir_at 0 rebalance' -a cancel -d 'Give the run up.'

# miroir rebalance plan
complete -c miroir -n '__miroir_at any rebalance plan' -l detailed-exitcode -d 'Exit with 9 when something is to be done.'

# miroir rebalance run
complete -c miroir -n '__miroir_at any rebalance run' -l parallel -x -d 'Shards at the same time.'
complete -c miroir -n '__miroir_at any rebalance run' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any rebalance run' -l window -x -d 'Only between these times of the day, in local time.'
complete -c miroir -n '__miroir_at any rebalance run' -l max-duration -x -d 'Stop at a clean place after so long, such as `2h` or `90m`.'
complete -c miroir -n '__miroir_at any rebalance run' -l retry-for -x -d 'How long to try again with nodes that are busy or away.'
complete -c miroir -n '__miroir_at any rebalance run' -l metrics-file -r -F -d 'When it ends, write how it went there, for node_exporter: FILE.prom in the folder that it reads.'
complete -c miroir -n '__miroir_at any rebalance run' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any rebalance run' -l yes -s y -d 'Do not ask.'

# miroir rebalance status
complete -c miroir -n '__miroir_at any rebalance status' -l watch -s w -d 'Show it again and again until ctrl-C.'
complete -c miroir -n '__miroir_at any rebalance status' -l interval -x -d 'Pause between two looks.'

# miroir rebalance pause
complete -c miroir -n '__miroir_at any rebalance pause' -l dry-run -d 'Show what would be done, and do nothing.'

# miroir rebalance resume
complete -c miroir -n '__miroir_at any rebalance resume' -l rate -x -d 'At most so many documents a second; 0: no limit.'
complete -c miroir -n '__miroir_at any rebalance resume' -l parallel -x -d 'Shards at the same time.'
complete -c miroir -n '__miroir_at any rebalance resume' -l window -x -d 'Only between these times of the day, in local time.'
complete -c miroir -n '__miroir_at any rebalance resume' -l max-duration -x -d 'Stop at a clean place after so long, such as `2h` or `90m`.'
complete -c miroir -n '__miroir_at any rebalance resume' -l retry-for -x -d 'How long to try again with nodes that are busy or away.'
complete -c miroir -n '__miroir_at any rebalance resume' -l dry-run -d 'Show what would be done, and do nothing.'

# miroir rebalance rate
complete -c miroir -n '__miroir_at any rebalance rate' -l dry-run -d 'Show what would be done, and do nothing.'

# miroir rebalance cancel
complete -c miroir -n '__miroir_at any rebalance cancel' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any rebalance cancel' -l yes -s y -d 'Do not ask.'

# miroir tasks
complete -c miroir -n '__miroir_at 0 tasks' -a list -d 'Show how long the nodes\' queues are, how fast they go, and what failed.'
complete -c miroir -n '__miroir_at 0 tasks' -a show -d 'Show one task: what the node says of it, and what it is to miroir.'
complete -c miroir -n '__miroir_at 0 tasks' -a wait -d 'Wait until the queues are empty, or until tasks have ended.'
complete -c miroir -n '__miroir_at 0 tasks' -a cancel -d 'Take a task out of a node\'s queue.'

# miroir tasks list
complete -c miroir -n '__miroir_at any tasks list' -l index -x -a '(__miroir_live indexes)' -d 'Only of this index.'
complete -c miroir -n '__miroir_at any tasks list' -l node -x -a '(__miroir_live nodes)' -d 'Only of this node; may be repeated.'
complete -c miroir -n '__miroir_at any tasks list' -l status -x -d 'Only tasks in this state: enqueued, processing, succeeded, failed, canceled.'
complete -c miroir -n '__miroir_at any tasks list' -l since -x -d 'Only since then: `90m`, `2h`, `7d`, or `2026-11-27T08:00`.'
complete -c miroir -n '__miroir_at any tasks list' -l limit -s n -x -d 'How many tasks to show.'
complete -c miroir -n '__miroir_at any tasks list' -l client -d 'The tasks that clients of `miroir serve` were given instead.'

# miroir tasks show

# miroir tasks wait
complete -c miroir -n '__miroir_at any tasks wait' -l index -x -a '(__miroir_live indexes)' -d 'Only of this index.'
complete -c miroir -n '__miroir_at any tasks wait' -l node -x -a '(__miroir_live nodes)' -d 'Only of this node; may be repeated.'
complete -c miroir -n '__miroir_at any tasks wait' -l timeout -x -d 'Give up after so long, with exit status 5.'

# miroir tasks cancel
complete -c miroir -n '__miroir_at any tasks cancel' -l accept-data-loss -d 'Also when nobody else has its part of a write, which is stored nowhere then.'
complete -c miroir -n '__miroir_at any tasks cancel' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any tasks cancel' -l yes -s y -d 'Do not ask.'

# miroir journal
complete -c miroir -n '__miroir_at 0 journal' -a list -d 'List the commands and runs that changed the cluster.'
complete -c miroir -n '__miroir_at 0 journal' -a show -d 'Show a command, or a run with its steps.'

# miroir journal list
complete -c miroir -n '__miroir_at any journal list' -l since -x -d 'Only since then: `90m`, `2h`, `7d`, or `2026-11-27T08:00`.'
complete -c miroir -n '__miroir_at any journal list' -l who -x -d 'Only by this user, or on this host (a part of the name).'
complete -c miroir -n '__miroir_at any journal list' -l failed -d 'Only what failed or was never finished.'
complete -c miroir -n '__miroir_at any journal list' -l command -x -d 'Only with this word in the command line.'
complete -c miroir -n '__miroir_at any journal list' -l limit -s n -x -d 'How many to show, both together.'

# miroir journal show
complete -c miroir -n '__miroir_at 0 journal show' -a '(__miroir_live entries)'

# miroir doctor
complete -c miroir -n '__miroir_at any doctor' -l check -x -d 'Only this check, or this group of checks such as `node`. Repeat it.'
complete -c miroir -n '__miroir_at any doctor' -l skip -x -d 'Not this check, or this group. Repeat it.'
complete -c miroir -n '__miroir_at any doctor' -l fail-on -x -a 'error warning info none' -d 'The least severity that makes the exit status 3; `none`: it is always 0.'
complete -c miroir -n '__miroir_at any doctor' -l list-checks -d 'List the checks and look at nothing.'

# miroir config
complete -c miroir -n '__miroir_at 0 config' -a check -d 'Check the topology file, and show what it would change.'
complete -c miroir -n '__miroir_at 0 config' -a show -d 'Show every setting with its value and where that is from.'

# miroir config check
complete -c miroir -n '__miroir_at any config check' -l online -d 'Ask the nodes, and Redis, as well, and try their keys.'
complete -c miroir -n '__miroir_at any config check' -l fail-on -x -a 'error warning info none' -d 'The least severity that makes the exit status 6; `none`: it is always 0.'

# miroir config show

# miroir index
complete -c miroir -n '__miroir_at 0 index' -a create -d 'Create an index on all nodes that will hold a part of it, or on none.'
complete -c miroir -n '__miroir_at 0 index' -a list -d 'List all indexes.'
complete -c miroir -n '__miroir_at 0 index' -a show -d 'Show an index: what is fixed, its settings, and where its shards are.'
complete -c miroir -n '__miroir_at 0 index' -a stats -d 'Count the documents of an index, each once.'
complete -c miroir -n '__miroir_at 0 index' -a delete -d 'Delete an index with all its documents from every node.'
complete -c miroir -n '__miroir_at 0 index' -a swap -d 'Let two indexes change places: each gets the other\'s name.'
complete -c miroir -n '__miroir_at 0 index' -a rename -d 'Give an index another name, which no index has.'
complete -c miroir -n '__miroir_at 0 index' -a unfreeze -d 'Let an index take documents again that was frozen.'
complete -c miroir -n '__miroir_at 0 index' -a settings -d 'Read and change the settings of an index on all its nodes.'

# miroir index create
complete -c miroir -n '__miroir_at any index create' -l primary-key -s k -x -d 'The field that identifies a document.'
complete -c miroir -n '__miroir_at any index create' -l shards -x -d 'Shards, fixed for good (otherwise the topology file\'s).'
complete -c miroir -n '__miroir_at any index create' -l replicas -x -d 'Copies of each shard in each group (otherwise the file\'s).'
complete -c miroir -n '__miroir_at any index create' -l settings -r -F -d 'Settings as JSON (`-`: standard input).'
complete -c miroir -n '__miroir_at any index create' -l no-tie-break -d 'Do not order equal hits by the primary key.'
complete -c miroir -n '__miroir_at any index create' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any index create' -l yes -s y -d 'Do not ask.'

# miroir index list

# miroir index show
complete -c miroir -n '__miroir_at 0 index show' -a '(__miroir_live indexes)'

# miroir index stats
complete -c miroir -n '__miroir_at 0 index stats' -a '(__miroir_live indexes)'

# miroir index delete
complete -c miroir -n '__miroir_at any index delete' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any index delete' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at 0 index delete' -a '(__miroir_live indexes)'

# miroir index swap
complete -c miroir -n '__miroir_at any index swap' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at 0 index swap' -a '(__miroir_live indexes)'

# miroir index rename
complete -c miroir -n '__miroir_at any index rename' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at 0 index rename' -a '(__miroir_live indexes)'

# miroir index unfreeze
complete -c miroir -n '__miroir_at any index unfreeze' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at 0 index unfreeze' -a '(__miroir_live indexes)'

# miroir index settings
complete -c miroir -n '__miroir_at 0 index settings' -a get -d 'Print settings as JSON, ready to be edited.'
complete -c miroir -n '__miroir_at 0 index settings' -a set -d 'Change settings: those that are named; the others stay.'
complete -c miroir -n '__miroir_at 0 index settings' -a reset -d 'Set settings back to Meilisearch\'s defaults.'
complete -c miroir -n '__miroir_at 0 index settings' -a diff -d 'Compare a settings file with what the index has.'

# miroir index settings get
complete -c miroir -n '__miroir_at 0 index settings get' -a '(__miroir_live indexes)'
complete -c miroir -n '__miroir_at from1 index settings get' -a 'displayedAttributes searchableAttributes filterableAttributes sortableAttributes rankingRules stopWords nonSeparatorTokens separatorTokens dictionary synonyms distinctAttribute proximityPrecision typoTolerance faceting pagination embedders searchCutoffMs localizedAttributes facetSearch prefixSearch'

# miroir index settings set
complete -c miroir -n '__miroir_at any index settings set' -l file -r -F -d 'Settings as JSON (`-`: standard input).'
complete -c miroir -n '__miroir_at any index settings set' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any index settings set' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at 0 index settings set' -a '(__miroir_live indexes)'

# miroir index settings reset
complete -c miroir -n '__miroir_at any index settings reset' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any index settings reset' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at 0 index settings reset' -a '(__miroir_live indexes)'
complete -c miroir -n '__miroir_at from1 index settings reset' -a 'displayedAttributes searchableAttributes filterableAttributes sortableAttributes rankingRules stopWords nonSeparatorTokens separatorTokens dictionary synonyms distinctAttribute proximityPrecision typoTolerance faceting pagination embedders searchCutoffMs localizedAttributes facetSearch prefixSearch'

# miroir index settings diff
complete -c miroir -n '__miroir_at any index settings diff' -l detailed-exitcode -d 'Exit with 9 when something is to be done.'
complete -c miroir -n '__miroir_at 0 index settings diff' -a '(__miroir_live indexes)'
complete -c miroir -n '__miroir_at 1 index settings diff' -F

# miroir alias
complete -c miroir -n '__miroir_at 0 alias' -a list -d 'List all aliases, and what they stand for.'
complete -c miroir -n '__miroir_at 0 alias' -a show -d 'Show an alias: what it stands for, and what it stood for.'
complete -c miroir -n '__miroir_at 0 alias' -a create -d 'Let a name that nothing has stand for an index, or for several.'
complete -c miroir -n '__miroir_at 0 alias' -a flip -d 'Let an alias stand for another index, at one moment for everybody.'
complete -c miroir -n '__miroir_at 0 alias' -a delete -d 'Let a name stand for nothing any more.'

# miroir alias list

# miroir alias show
complete -c miroir -n '__miroir_at 0 alias show' -a '(__miroir_live aliases)'

# miroir alias create
complete -c miroir -n '__miroir_at any alias create' -l several -d 'Of several indexes, though it begins with one: only to be searched.'
complete -c miroir -n '__miroir_at any alias create' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at from1 alias create' -a '(__miroir_live indexes)'

# miroir alias flip
complete -c miroir -n '__miroir_at any alias flip' -l from -x -a '(__miroir_live indexes)' -d 'Only while it stands for this index.'
complete -c miroir -n '__miroir_at any alias flip' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at 0 alias flip' -a '(__miroir_live aliases)'
complete -c miroir -n '__miroir_at from1 alias flip' -a '(__miroir_live indexes)'

# miroir alias delete
complete -c miroir -n '__miroir_at any alias delete' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at 0 alias delete' -a '(__miroir_live aliases)'

# miroir import
complete -c miroir -n '__miroir_at any import' -l format -x -a 'ndjson json csv parquet' -d 'What the files are (otherwise by name, then by content).'
complete -c miroir -n '__miroir_at any import' -l delimiter -x -d 'What separates CSV cells (,).'
complete -c miroir -n '__miroir_at any import' -l rejects -r -F -d 'Write what cannot be imported there, as NDJSON.'
complete -c miroir -n '__miroir_at any import' -l update -d 'Merge fields into documents that exist instead of replacing them.'
complete -c miroir -n '__miroir_at any import' -l create -d 'Create the index if it is missing (needs --primary-key).'
complete -c miroir -n '__miroir_at any import' -l primary-key -s k -x -d 'The field that identifies a document; the index must have this one.'
complete -c miroir -n '__miroir_at any import' -l restart -d 'Begin again instead of going on where one stopped.'
complete -c miroir -n '__miroir_at any import' -l batch-bytes -x -d 'Size of a batch (otherwise found out).'
complete -c miroir -n '__miroir_at any import' -l retry-for -x -d 'How long to try again with nodes that are busy or away.'
complete -c miroir -n '__miroir_at any import' -l metrics-file -r -F -d 'When it ends, write how it went there, for node_exporter: FILE.prom in the folder that it reads.'
complete -c miroir -n '__miroir_at any import' -l from -x -d 'Copy from this Meilisearch.'
complete -c miroir -n '__miroir_at any import' -l from-index -x -d 'Its uid there (the same).'
complete -c miroir -n '__miroir_at any import' -l all -d 'All indexes of the server, under their uids.'
complete -c miroir -n '__miroir_at any import' -l key-env -x -d 'Which variable holds the server\'s key.'
complete -c miroir -n '__miroir_at any import' -l shards -x -d 'Shards of an index that is created (the file\'s).'
complete -c miroir -n '__miroir_at any import' -l settings -r -F -d 'Settings over those of the server, such as the keys of embedders.'
complete -c miroir -n '__miroir_at any import' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any import' -l delete -d 'Delete documents that the server does not have.'
complete -c miroir -n '__miroir_at any import' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any import' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at 0 import' -a '(__miroir_live indexes)'
complete -c miroir -n '__miroir_at from1 import' -F

# miroir get
complete -c miroir -n '__miroir_at any get' -l fields -l attributes -s a -x -d 'Only these fields.'
complete -c miroir -n '__miroir_at 0 get' -a '(__miroir_live indexes)'

# miroir delete
complete -c miroir -n '__miroir_at any delete' -l filter -s f -x -d 'Only what matches, such as `year < 1950`.'
complete -c miroir -n '__miroir_at any delete' -l all -d 'Every document; the index stays.'
complete -c miroir -n '__miroir_at any delete' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any delete' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at 0 delete' -a '(__miroir_live indexes)'

# miroir search
complete -c miroir -n '__miroir_at any search' -l filter -s f -x -d 'Only what matches, such as `year < 1950`.'
complete -c miroir -n '__miroir_at any search' -l sort -s s -x -d 'Sort by a field; may be repeated.'
complete -c miroir -n '__miroir_at any search' -l distinct -x -d 'Only the best hit of each value of this field.'
complete -c miroir -n '__miroir_at any search' -l matching-strategy -x -a 'last all frequency' -d 'Which words of the query a hit may lack (last).'
complete -c miroir -n '__miroir_at any search' -l ranking-score-threshold -x -d 'Only hits that score X or more.'
complete -c miroir -n '__miroir_at any search' -l fields -l attributes -s a -x -d 'Only these fields.'
complete -c miroir -n '__miroir_at any search' -l limit -s n -x -d 'How many to show (20).'
complete -c miroir -n '__miroir_at any search' -l offset -x -d 'How many to skip.'
complete -c miroir -n '__miroir_at any search' -l page -x -d 'Show this page.'
complete -c miroir -n '__miroir_at any search' -l hits-per-page -x -d 'Its size.'
complete -c miroir -n '__miroir_at any search' -l facets -x -d 'Count the values of these fields; `*`: of all.'
complete -c miroir -n '__miroir_at any search' -l highlight -x -d 'Mark matches in these fields (`_formatted`).'
complete -c miroir -n '__miroir_at any search' -l embedder -s e -x -d 'Rank by vectors too, those of this embedder.'
complete -c miroir -n '__miroir_at any search' -l semantic-ratio -x -d 'What vectors count beside words: 0 to 1 (0.5).'
complete -c miroir -n '__miroir_at any search' -l vector -x -d 'The vector to look for, where the embedder makes none of words.'
complete -c miroir -n '__miroir_at any search' -l body -r -F -d 'A request as JSON (`-`: standard input); options go on top.'
complete -c miroir -n '__miroir_at any search' -l multi -r -F -d 'Many queries at once: the JSON body of a multi-search (`-`: standard input).'
complete -c miroir -n '__miroir_at any search' -l partial -x -a 'error allow' -d 'What to do when shards do not answer (otherwise the topology file\'s).'
complete -c miroir -n '__miroir_at 0 search' -a '(__miroir_live indexes)'

# miroir similar
complete -c miroir -n '__miroir_at any similar' -l embedder -s e -x -d 'The embedder whose vectors are compared.'
complete -c miroir -n '__miroir_at any similar' -l filter -s f -x -d 'Only what matches, such as `year < 1950`.'
complete -c miroir -n '__miroir_at any similar' -l ranking-score-threshold -x -d 'Only hits that score X or more.'
complete -c miroir -n '__miroir_at any similar' -l fields -l attributes -s a -x -d 'Only these fields.'
complete -c miroir -n '__miroir_at any similar' -l limit -s n -x -d 'How many to show (20).'
complete -c miroir -n '__miroir_at any similar' -l offset -x -d 'How many to skip.'
complete -c miroir -n '__miroir_at any similar' -l body -r -F -d 'A request as JSON (`-`: standard input); options go on top.'
complete -c miroir -n '__miroir_at any similar' -l partial -x -a 'error allow' -d 'What to do when shards do not answer (otherwise the topology file\'s).'
complete -c miroir -n '__miroir_at 0 similar' -a '(__miroir_live indexes)'

# miroir explain
complete -c miroir -n '__miroir_at any explain' -l filter -s f -x -d 'Only what matches, such as `year < 1950`.'
complete -c miroir -n '__miroir_at any explain' -l body -r -F -d 'A request as JSON (`-`: standard input); options go on top.'
complete -c miroir -n '__miroir_at 0 explain' -a '(__miroir_live indexes)'

# miroir locate
complete -c miroir -n '__miroir_at 0 locate' -a '(__miroir_live indexes)'

# miroir facet-search
complete -c miroir -n '__miroir_at any facet-search' -l words -x -d 'Only of documents that match these words.'
complete -c miroir -n '__miroir_at any facet-search' -l filter -s f -x -d 'Only what matches, such as `year < 1950`.'
complete -c miroir -n '__miroir_at any facet-search' -l matching-strategy -x -a 'last all frequency' -d 'Which of the words a document may lack (last).'
complete -c miroir -n '__miroir_at any facet-search' -l exhaustive -d 'Count every matching document, however many there are.'
complete -c miroir -n '__miroir_at any facet-search' -l body -r -F -d 'A request as JSON (`-`: standard input); options go on top.'
complete -c miroir -n '__miroir_at any facet-search' -l partial -x -a 'error allow' -d 'What to do when shards do not answer (otherwise the topology file\'s).'
complete -c miroir -n '__miroir_at 0 facet-search' -a '(__miroir_live indexes)'

# miroir browse
complete -c miroir -n '__miroir_at any browse' -l filter -s f -x -d 'Only what matches, such as `year < 1950`.'
complete -c miroir -n '__miroir_at any browse' -l ids -x -d 'Only documents with these primary keys.'
complete -c miroir -n '__miroir_at any browse' -l sort -s s -x -d 'Sort by a field; may be repeated.'
complete -c miroir -n '__miroir_at any browse' -l fields -l attributes -s a -x -d 'Only these fields.'
complete -c miroir -n '__miroir_at any browse' -l vectors -d 'With the vectors of each document.'
complete -c miroir -n '__miroir_at any browse' -l limit -s n -x -d 'How many to show (20).'
complete -c miroir -n '__miroir_at any browse' -l offset -x -d 'How many to skip.'
complete -c miroir -n '__miroir_at any browse' -l body -r -F -d 'A request as JSON (`-`: standard input); options go on top.'
complete -c miroir -n '__miroir_at any browse' -l partial -x -a 'error allow' -d 'What to do when shards do not answer (otherwise the topology file\'s).'
complete -c miroir -n '__miroir_at 0 browse' -a '(__miroir_live indexes)'

# miroir export
complete -c miroir -n '__miroir_at any export' -l output -s o -r -F -d 'Write here, whole or not at all; otherwise print.'
complete -c miroir -n '__miroir_at any export' -l format -x -a 'ndjson json' -d '`ndjson`, one document a line (otherwise), or a `json` array.'
complete -c miroir -n '__miroir_at any export' -l filter -s f -x -d 'Only what matches, such as `year < 1950`.'
complete -c miroir -n '__miroir_at any export' -l fields -l attributes -s a -x -d 'Only these fields.'
complete -c miroir -n '__miroir_at any export' -l vectors -d 'With the vectors of each document.'
complete -c miroir -n '__miroir_at any export' -l to -x -d 'Copy into this Meilisearch.'
complete -c miroir -n '__miroir_at any export' -l to-index -x -d 'Its uid there (the same).'
complete -c miroir -n '__miroir_at any export' -l key-env -x -d 'Which variable holds the server\'s key.'
complete -c miroir -n '__miroir_at any export' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any export' -l delete -d 'Delete documents that the cluster does not have.'
complete -c miroir -n '__miroir_at any export' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any export' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at 0 export' -a '(__miroir_live indexes)'

# miroir backup
complete -c miroir -n '__miroir_at 0 backup' -a create -d 'Back up all indexes, or some, while searches and writes go on.'
complete -c miroir -n '__miroir_at 0 backup' -a list -d 'List the backups in a place, also unfinished and damaged ones.'
complete -c miroir -n '__miroir_at 0 backup' -a show -d 'Show what a backup has: its indexes, and as of which moment each shard is.'
complete -c miroir -n '__miroir_at 0 backup' -a verify -d 'Check that all files of a backup are there and hold what was written.'
complete -c miroir -n '__miroir_at 0 backup' -a prune -d 'Delete backups that no rule keeps; the newest complete one always stays.'
complete -c miroir -n '__miroir_at 0 backup' -a restore -d 'Restore indexes of a backup into a cluster or into one Meilisearch.'

# miroir backup create
complete -c miroir -n '__miroir_at any backup create' -l index -x -a '(__miroir_live indexes)' -d 'Only this index; may be repeated.'
complete -c miroir -n '__miroir_at any backup create' -l with-keys -d 'With the clients\' API keys, without their values.'
complete -c miroir -n '__miroir_at any backup create' -l with-secrets -d 'With the keys and headers of embedders, readable.'
complete -c miroir -n '__miroir_at any backup create' -l parallel -x -d 'Shards at the same time.'
complete -c miroir -n '__miroir_at any backup create' -l rate -x -d 'At most so many documents a second.'
complete -c miroir -n '__miroir_at any backup create' -l retry-for -x -d 'How long to try again with nodes that are busy or away.'
complete -c miroir -n '__miroir_at any backup create' -l file-bytes -x -d 'Bytes of documents in a file.'
complete -c miroir -n '__miroir_at any backup create' -l compression -x -a 'zstd gzip' -d 'zstd where there is one (Python 3.14, `miroir[zstd]`).'
complete -c miroir -n '__miroir_at any backup create' -l restart -d 'Begin again instead of resuming.'
complete -c miroir -n '__miroir_at any backup create' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any backup create' -l metrics-file -r -F -d 'When it ends, write how it went there, for node_exporter: FILE.prom in the folder that it reads.'
complete -c miroir -n '__miroir_at 0 backup create' -a '(__fish_complete_directories)'

# miroir backup list
complete -c miroir -n '__miroir_at 0 backup list' -a '(__fish_complete_directories)'

# miroir backup show
complete -c miroir -n '__miroir_at 0 backup show' -a '(__fish_complete_directories)'
complete -c miroir -n '__miroir_at 1 backup show' -a '(__miroir_live backups)'

# miroir backup verify
complete -c miroir -n '__miroir_at any backup verify' -l index -x -a '(__miroir_live indexes)' -d 'Only this index; may be repeated.'
complete -c miroir -n '__miroir_at any backup verify' -l live -d 'Also compare every document with the cluster as it is now.'
complete -c miroir -n '__miroir_at any backup verify' -l metrics-file -r -F -d 'When it ends, write how it went there, for node_exporter: FILE.prom in the folder that it reads.'
complete -c miroir -n '__miroir_at 0 backup verify' -a '(__fish_complete_directories)'
complete -c miroir -n '__miroir_at 1 backup verify' -a '(__miroir_live backups)'

# miroir backup prune
complete -c miroir -n '__miroir_at any backup prune' -l keep-last -x -d 'Keep the last N.'
complete -c miroir -n '__miroir_at any backup prune' -l keep-daily -x -d 'The newest of each of the last N days.'
complete -c miroir -n '__miroir_at any backup prune' -l keep-weekly -x -d 'The newest of each of the last N weeks.'
complete -c miroir -n '__miroir_at any backup prune' -l keep-monthly -x -d 'The newest of each of the last N months.'
complete -c miroir -n '__miroir_at any backup prune' -l keep-within -x -d 'All that are not older, such as `36h`, `30d`, `8w`.'
complete -c miroir -n '__miroir_at any backup prune' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at any backup prune' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at any backup prune' -l metrics-file -r -F -d 'When it ends, write how it went there, for node_exporter: FILE.prom in the folder that it reads.'
complete -c miroir -n '__miroir_at 0 backup prune' -a '(__fish_complete_directories)'

# miroir backup restore
complete -c miroir -n '__miroir_at any backup restore' -l index -x -a '(__miroir_live indexes)' -d 'Only this index; may be repeated.'
complete -c miroir -n '__miroir_at any backup restore' -l as -x -d 'Restore it under another uid.'
complete -c miroir -n '__miroir_at any backup restore' -l to -x -d 'Into one Meilisearch instead of the cluster.'
complete -c miroir -n '__miroir_at any backup restore' -l key-env -x -d 'Which variable holds its key.'
complete -c miroir -n '__miroir_at any backup restore' -l shards -x -d 'Shards (as many as it had).'
complete -c miroir -n '__miroir_at any backup restore' -l replicas -x -d 'Copies of each shard in each group.'
complete -c miroir -n '__miroir_at any backup restore' -l settings -r -F -d 'Settings over those of the backup, such as the keys of embedders.'
complete -c miroir -n '__miroir_at any backup restore' -l replace -d 'Delete an index of the same uid first (it asks for the uid).'
complete -c miroir -n '__miroir_at any backup restore' -l compare -d 'Compare every document once it is restored.'
complete -c miroir -n '__miroir_at any backup restore' -l retry-for -x -d 'How long to try again with nodes that are busy or away.'
complete -c miroir -n '__miroir_at any backup restore' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at any backup restore' -l dry-run -d 'Show what would be done, and do nothing.'
complete -c miroir -n '__miroir_at 0 backup restore' -a '(__fish_complete_directories)'
complete -c miroir -n '__miroir_at 1 backup restore' -a '(__miroir_live backups)'

# miroir serve
complete -c miroir -n '__miroir_at any serve' -l host -x -d 'Address to listen on (127.0.0.1).'
complete -c miroir -n '__miroir_at any serve' -l port -s p -x -d 'Port, 0 for a free one (7700).'
complete -c miroir -n '__miroir_at any serve' -l workers -x -d 'Processes side by side (1).'

# miroir state
complete -c miroir -n '__miroir_at 0 state' -a recover -d 'Build the state file anew from the copies that nodes keep.'

# miroir state recover
complete -c miroir -n '__miroir_at any state recover' -l accept-loss -x -a '(__miroir_live nodes)' -d 'Go on without a node that does not answer: what only it has is given up. May be repeated.'
complete -c miroir -n '__miroir_at any state recover' -l yes -s y -d 'Do not ask.'
complete -c miroir -n '__miroir_at any state recover' -l dry-run -d 'Show what would be done, and do nothing.'

# miroir schema

# miroir plan-capacity
complete -c miroir -n '__miroir_at any plan-capacity' -l documents -x -d 'Documents.'
complete -c miroir -n '__miroir_at any plan-capacity' -l bytes-per-document -x -d 'Bytes of one document as JSON, on average.'
complete -c miroir -n '__miroir_at any plan-capacity' -l queries-per-second -x -d 'Searches a second at the worst.'
complete -c miroir -n '__miroir_at any plan-capacity' -l database-ratio -x -d 'Bytes of database for each byte of documents, where a sample has told.'
complete -c miroir -n '__miroir_at any plan-capacity' -l from-cluster -x -a '(__miroir_live indexes)' -d 'Take what is not said from this index of the cluster and from the topology file.'
complete -c miroir -n '__miroir_at any plan-capacity' -l nodes -x -d 'Nodes.'
complete -c miroir -n '__miroir_at any plan-capacity' -l replicas -x -d 'Copies of each document.'
complete -c miroir -n '__miroir_at any plan-capacity' -l groups -x -d 'Replica groups.'
complete -c miroir -n '__miroir_at any plan-capacity' -l node-cores -x -d 'Processor cores of a node.'
complete -c miroir -n '__miroir_at any plan-capacity' -l node-memory -x -d 'Memory of a node, such as 16GiB.'
complete -c miroir -n '__miroir_at any plan-capacity' -l node-disk -x -d 'Disk of a node, such as 200GB.'

# miroir dev
complete -c miroir -n '__miroir_at 0 dev' -a up -d 'Start local nodes, and write a topology file if there is none.'
complete -c miroir -n '__miroir_at 0 dev' -a down -d 'Stop the local nodes that `miroir dev up` started.'
complete -c miroir -n '__miroir_at 0 dev' -a status -d 'Show the local nodes: which run, where, and with what.'
complete -c miroir -n '__miroir_at 0 dev' -a node -d 'Run one embedded node in the foreground until ctrl-C.'

# miroir dev up
complete -c miroir -n '__miroir_at any dev up' -l nodes -x -d 'How many nodes shall run.'
complete -c miroir -n '__miroir_at any dev up' -l port -s p -x -d 'Port of the first node; the others follow (7701).'
complete -c miroir -n '__miroir_at any dev up' -l engine -x -a 'auto meilisearch embedded' -d 'What the nodes run; `auto` takes Meilisearch when it is installed.'
complete -c miroir -n '__miroir_at any dev up' -l proxies -x -d 'How many `miroir serve` shall run beside (as the last time).'
complete -c miroir -n '__miroir_at any dev up' -l state -x -a 'sqlite redis' -d 'Where the state is: a file, or a local Redis that is started first (as the last time).'
complete -c miroir -n '__miroir_at any dev up' -l proxy-port -x -d 'Port of the first proxy; Redis has the one before (7601).'
complete -c miroir -n '__miroir_at any dev up' -l within -x -d 'Time for each to answer.'
complete -c miroir -n '__miroir_at any dev up' -l dry-run -d 'Show what would be done, and do nothing.'

# miroir dev down
complete -c miroir -n '__miroir_at any dev down' -l dry-run -d 'Show what would be done, and do nothing.'

# miroir dev status

# miroir dev node
complete -c miroir -n '__miroir_at any dev node' -l port -s p -x -d 'The port on 127.0.0.1.'
complete -c miroir -n '__miroir_at any dev node' -l data -x -a '(__fish_complete_directories)' -d 'Where it keeps its data.'

# miroir demo
complete -c miroir -n '__miroir_at any demo' -l keep -d 'Leave the nodes running and their directory there.'
complete -c miroir -n '__miroir_at any demo' -l engine -x -a 'auto meilisearch embedded' -d 'What the nodes run; `auto` takes Meilisearch when it is installed.'
complete -c miroir -n '__miroir_at any demo' -l port -s p -x -d 'Port of the first node; the others follow (free ones).'
complete -c miroir -n '__miroir_at any demo' -l plain -d 'Plain lines: no colours, no bars, no typing.'

# miroir completions
complete -c miroir -n '__miroir_at 0 completions' -a 'bash zsh fish'
