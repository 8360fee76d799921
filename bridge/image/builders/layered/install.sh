# Installs the requirements into /opt/venv, as root, inside the build, without what serving never reads. All that is
# done to an installed file is done here: a later step would copy the file first.
set -eu
umask 022
: > /tmp/bridge-mark # what changes from here on is the layer
if [ -s /run/bridge/packages ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    xargs apt-get -qq install -y --no-install-recommends < /run/bridge/packages
fi
export UV_NO_CACHE=1 UV_NO_CONFIG=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/venv
export TMPDIR=/run/scratch UV_NO_PROGRESS=1
if [ -s /run/secrets/ca ]; then
    cat "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" /run/secrets/ca > /run/scratch/ca.pem
    export SSL_CERT_FILE=/run/scratch/ca.pem
fi
if [ -s /run/secrets/index-url ]; then
    UV_DEFAULT_INDEX="$(cat /run/secrets/index-url)"
    export UV_DEFAULT_INDEX
fi
if [ -s /run/secrets/extra-index-urls ]; then
    UV_INDEX="$(tr '\n' ' ' < /run/secrets/extra-index-urls)"
    export UV_INDEX
fi
set --
if [ -e /run/bridge/wheels-only ]; then
    set -- --only-binary :all:
fi
/run/bridge/uv venv --quiet --system-site-packages --python "$(command -v python)" /opt/venv
/run/bridge/uv pip install --quiet "$@" -r /run/bridge/requirements.txt -c /run/bridge/constraints.txt
python -I /run/bridge/trim.py /opt/venv/lib*/python*/site-packages
find /opt/venv -name '*.py' -exec touch -hcd @315532800 {} + # bytecode will hold its source's time
