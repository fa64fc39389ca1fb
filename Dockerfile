# CoreC v4 with its plugins. Built by ./scripts/start.sh --docker; the databases are services of their own.
# For exactly the same base everywhere, write its digest here: python:3.11-slim@sha256:…
FROM python:3.11-slim AS packages

# 1 installs from wheels that the base image brings (PIP_FIND_LINKS) and asks no index.
ARG PIP_NO_INDEX=
COPY requirements.txt constraints.txt /build/
# Without pip in it: what runs installs nothing.
RUN python3 -m venv --without-pip /opt/corec \
 && python3 -m pip --python /opt/corec/bin/python install --no-cache-dir --no-input \
    --disable-pip-version-check -r /build/requirements.txt -c /build/constraints.txt


FROM python:3.11-slim

RUN groupadd --gid 10001 corec \
 && useradd --uid 10001 --gid corec --home-dir /var/lib/corec --no-create-home \
    --shell /usr/sbin/nologin corec \
 && install -d -o corec -g corec -m 700 /var/lib/corec

ENV PATH=/opt/corec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    COREC_HOME=/var/lib/corec

COPY --from=packages /opt/corec /opt/corec
WORKDIR /app
# Without configs/, which docker-compose.yml mounts: a change of it needs no new image.
COPY . .
# Readable for corec whatever the umask of the checkout was, writable for nobody.
RUN chmod -R u=rwX,go=rX /app && python -m compileall -q /app/src

USER 10001:10001
VOLUME /var/lib/corec
STOPSIGNAL SIGTERM
ENTRYPOINT ["/bin/sh", "/app/deploy/docker/entrypoint.sh"]
CMD ["python", "main.py"]
