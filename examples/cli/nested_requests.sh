#!/bin/sh
# Commands that ask each other: what a child sends names the task that it works on as its cause, and
# while it waits for an answer its agent's place is lent, so that they may ask in circles.
set -eu
dir=$(mktemp -d) tries=0 agents=''
trunkline serve --ephemeral --listen 127.0.0.1:0 --port-file "$dir/port" 2>"$dir/log" &
broker=$!
trap 'kill $broker $agents || true; wait; rm -r "$dir"' EXIT
until test -s "$dir/port" || test $((tries += 1)) -gt 100; do sleep 0.1; done
TRUNKLINE_URL=http://$(cat "$dir/port")
export TRUNKLINE_URL

# Each has one place only. The clerk asks the counter, which asks the clerk.
clerk='case $TRUNKLINE_SKILL in
    report) trunkline request --skill count - ;;
    unit) echo words, caused by "$TRUNKLINE_CAUSATION_ID" ;;
esac'
counter='echo $(wc -w) $(trunkline request --skill unit --data "")'
trunkline agent --id clerk --skill report --skill unit -- sh -c "$clerk" &
agents="$agents $!"
trunkline agent --id counter --skill count -- sh -c "$counter" &
agents="$agents $!"
reply=$(trunkline request --skill report --data 'one two three')
echo "$reply"
test "${reply%%,*}" = '3 words'

# What could never be answered is refused at once, and the chain of ancestors named.
keyed='trunkline request --skill key --ordering-key k --data "" 2>&1 || true'
trunkline agent --skill key -- sh -c "$keyed" &
agents="$agents $!"
trunkline request --skill key --ordering-key k --data '' | grep 'would wait for itself'
