#!/bin/sh
# A broker that is killed while a handler runs: the handler goes on, the agent comes back to the
# broker that is started again, and what it did counts. It was one attempt.
set -eu
dir=$(mktemp -d) tries=0 broker='' agent=''
trap 'kill $broker $agent || true; wait; rm -r "$dir"' EXIT
serve() {
    # An agent may take its time to come back before its work goes to another one.
    TRUNKLINE_BROKER__RESUME_GRACE=1m \
        trunkline serve --data "$dir/data" --listen "$1" --port-file "$dir/port" 2>>"$dir/log" &
    broker=$!
}
exists() {
    until test -s "$1" || test $((tries += 1)) -gt 200; do sleep 0.1; done
}
serve 127.0.0.1:0
exists "$dir/port"
address=$(cat "$dir/port")
TRUNKLINE_URL=http://$address
export TRUNKLINE_URL dir

script='echo $TRUNKLINE_ATTEMPT >>"$dir/begun"; until test -e "$dir/go"; do sleep 0.1; done; wc -w'
trunkline agent --skill count-words -- sh -c "$script" &
agent=$!
id=$(trunkline send --skill count-words --data 'one two three')
exists "$dir/begun"
kill -KILL $broker
wait $broker || true
touch "$dir/go" # it ends while no broker is there
serve "$address"
until trunkline stats >/dev/null 2>&1 || test $((tries += 1)) -gt 200; do sleep 0.1; done
trunkline task watch "$id"
trunkline task get "$id" | grep -i state
test "$(cat "$dir/begun")" = 1 # begun once
