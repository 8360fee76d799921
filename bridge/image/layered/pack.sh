# Adds the user, compiles what serving imports, and packs all that has changed, inside the build. No secret is here.
set -eu
umask 022
if ! grep -q '^model:' /etc/passwd; then
    echo 'model:x:10001:10001::/home/model:/usr/sbin/nologin' >> /etc/passwd
    echo 'model:x:10001:' >> /etc/group
fi
mkdir -p /home/model
chown 10001:10001 /home/model
export PYTHONHASHSEED=0
# Bytecode holds its source's time, so that comes first. What a process has compiled before shows in its bytecode, so
# each share is compiled by a process of its own, in one order; the last one finds compiled what it shares with others.
find /opt/venv -name '*.py' -exec touch -hcd @315532800 {} +
processes=
for share in 1 2 3; do
    /opt/venv/bin/python /run/bridge/compile.py "$share" > /dev/null 2>&1 &
    processes="$processes $!"
done
for process in $processes; do
    wait "$process" || true # what can't be compiled is compiled when it is imported, or never
done
/opt/venv/bin/python /run/bridge/compile.py 0 > /dev/null 2>&1 || true
mkdir /tmp/bridge-layer
python -I /run/bridge/layers.py /tmp/bridge-mark /tmp/bridge-layer
