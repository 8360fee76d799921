# Adds the user, compiles what serving imports, and packs what has changed. No secret is here. Run inside the build.
set -eu
umask 022
if ! grep -q '^model:' /etc/passwd; then
    echo 'model:x:10001:10001::/home/model:/usr/sbin/nologin' >> /etc/passwd
    echo 'model:x:10001:' >> /etc/group
fi
mkdir -p /home/model
chown 10001:10001 /home/model
mkdir /tmp/bridge-layer
# Compiling works on one core and packing on the others. Bytecode is packed when all of it is there. What can't be
# imported here is compiled when it is imported, or never.
PYTHONHASHSEED=0 /opt/venv/bin/python /run/bridge/compile.py > /dev/null 2>&1 &
compiling=$!
nice python -I /run/bridge/layers.py /tmp/bridge-mark /tmp/bridge-layer files
wait "$compiling" || true
python -I /run/bridge/layers.py /tmp/bridge-mark /tmp/bridge-layer bytecode
