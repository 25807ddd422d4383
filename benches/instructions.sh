#!/bin/sh
# Instructions per run of each scenario, by callgrind: two runs of different length, their counts subtracted, so that
# what only the first runs do drops out. Needs valgrind. Counts vary little, so they show what seconds do not.
set -eu
cd "$(dirname "$0")/.."

# At least as many as sessions are allowed, so that each login counted replaces one.
short=200
long=1200
program=$(cargo bench --no-run --bench instructions --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\/instructions-[^"]*\)".*/\1/p' | tail -n 1)

count() {
    valgrind --tool=callgrind --toggle-collect='*instructions*counted*' --callgrind-out-file=/dev/null \
        "$program" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected *: *\([0-9]*\).*/\1/p'
}

echo '| scenario | instructions |'
echo '| --- | ---: |'
for scenario in grant-hs256 grant-hs256-limited hand-written-hs256 sign-hs256 grant-eddsa sign-eddsa verify-eddsa \
    parse-form parse-form-serde login-without-refresh-token login-with-refresh-token
do
    few=$(count "$scenario" "$short")
    many=$(count "$scenario" "$long")
    echo "| $scenario | $(((many - few) / (long - short))) |"
done
