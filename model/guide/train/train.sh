#!/bin/sh
# The recipe of the committed guide: sh train.sh DIR [more flags of train.py].
# The C library keeps the memory that torch frees, since fresh pages are dear,
# and a waiting thread sleeps, since other programs may use the cores.
set -eu
export OMP_WAIT_POLICY=passive
export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1
out=$1
shift
exec nice -n 5 python "$(dirname "$0")/train.py" --out "$out" --steps 4000 --lr 0.009 --threads 2 "$@"
