# The bridge: `docker run --env-file .env -p 8000:8000 IMAGE`. The ledger is in the volume /data.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /build
RUN python -m venv --without-pip /opt/mlflow-bridge
COPY requirements/runtime.txt requirements/
RUN python -m pip --python /opt/mlflow-bridge/bin/python install --no-cache-dir --require-hashes \
      -r requirements/runtime.txt
# Copy the package instead of building it: a build backend would be installed without a lock file.
COPY bridge bridge
RUN cp -r bridge "$(/opt/mlflow-bridge/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
 && printf '#!/opt/mlflow-bridge/bin/python\nfrom bridge.cli import app\n\napp()\n' >/opt/mlflow-bridge/bin/mlflow-bridge \
 && chmod 755 /opt/mlflow-bridge/bin/mlflow-bridge \
 && /opt/mlflow-bridge/bin/python -m compileall -q /opt/mlflow-bridge/lib

FROM ${BASE_IMAGE}
RUN groupadd --non-unique --gid 1000 bridge \
 && useradd --non-unique --no-log-init --uid 1000 --gid 1000 --no-create-home --home-dir /data \
      --shell /usr/sbin/nologin bridge \
 && mkdir /data && chown 1000:1000 /data && chmod 1777 /data
COPY --from=build /opt/mlflow-bridge /opt/mlflow-bridge
ENV PATH=/opt/mlflow-bridge/bin:${PATH} \
    HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /data
USER 1000:1000
EXPOSE 8000

LABEL org.opencontainers.image.title="mlflow-actions-bridge" \
      org.opencontainers.image.description="Dispatches GitHub Actions workflows for MLflow model versions" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV DATABASE_URL=sqlite:////data/mlflow-bridge.db
VOLUME /data
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-P", "-c", "\
import os, urllib.request as r; \
r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + (os.environ.get('PORT') or '8000') + '/ready', timeout=4)"]
ENTRYPOINT ["mlflow-bridge"]
CMD ["serve"]
