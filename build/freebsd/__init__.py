"""The FreeBSD executable, made on Linux. build/binary.py is the way in: python build/binary.py --target x86_64-freebsd

sources.toml   what is fetched: name, version, licence, address, hash
sources.py     fetches and unpacks it
stage.py       one step of the build, kept under the hash of what went in
target.py      the machine that is built for, and zig's compiler for it
libraries.py   zlib, libffi and OpenSSL
cpython.py     CPython twice: to run here, and to be linked with
Setup.local    which of CPython's modules written in C go in
cpython.patch  lets CPython be cross-compiled for FreeBSD
core.py        gfwd's core as a module of that CPython
executable.py  Nuitka's part
plugin.py, newlocale.c  what Nuitka is given, and told otherwise
elf.py         reads what came out: is it for FreeBSD 14, and does that have all that is asked of it?
proof.py       writes down of which recipe an executable was made and read: the file `proven`
"""
