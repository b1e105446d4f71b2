# Builds with every builder, also without BuildKit.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/noetl
WORKDIR /build
COPY requirements.txt ./
RUN /opt/noetl/bin/pip install --quiet --require-hashes --requirement requirements.txt
# Everything up to here is kept by the builder until a requirement changes.
COPY pyproject.toml README.md LICENSE ./
COPY noetl noetl
RUN /opt/noetl/bin/pip install --quiet --no-build-isolation --no-deps --no-index .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --create-home --home-dir /var/lib/noetl noetl
COPY --from=build /opt/noetl /opt/noetl
COPY examples /opt/noetl/examples
# A container has a Postgres beside it; a second one inside would lose its data with the container.
ENV PATH=/opt/noetl/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NOETL_EMBEDDED=false \
    NOETL_HOME=/var/lib/noetl
WORKDIR /var/lib/noetl
USER 10001
EXPOSE 8082
ENTRYPOINT ["noetl"]
CMD ["server", "start", "--foreground", "--host", "0.0.0.0", "--port", "8082"]
