#!/bin/sh
# csvkit 2.2.0 (agate 1.14.2): csvsort and csvjson know types, and write what they have understood. A column of 0 and 1 alone is one
# of booleans, lengths in m and h are durations, and an underscore between digits is Python's: a list that is only sorted comes
# back with a stock of False and True, cables of one minute and other article codes. Beside a product with a stock of 2 the
# numbers are numbers again, so that it shows only where nearly everything is sold. With -I nothing is changed.
# Seen, for rows of stock, length and code: "0 1m 10_20" as "False 0:01:00 1020", "1 5h 30_41" as "True 5:00:00 3041"; with -I,
# and beside a row "2 5 cm A1", as they were. Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check csvkit==2.2.0 agate==1.14.2
"$folder/venv/bin/csvsort" --version
printf '%s\n' stock,length,code 0,1m,10_20 1,5h,30_41 > "$folder/few.csv"
printf '%s\n' stock,length,code 0,1m,10_20 1,5h,30_41 '2,5 cm,A1' > "$folder/more.csv"
seen=$(cd "$folder" && for list in few.csv '-I few.csv' more.csv; do
    echo "csvsort $list:" && venv/bin/csvsort $list | tail -n +2
done)
echo "$seen"
[ "$seen" = "csvsort few.csv:
False,0:01:00,1020
True,5:00:00,3041
csvsort -I few.csv:
0,1m,10_20
1,5h,30_41
csvsort more.csv:
0,1m,10_20
1,5h,30_41
2,5 cm,A1" ]
