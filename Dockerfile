# syntax=docker/dockerfile:1
# The wheel, and images that hold nothing else of the checkout:
#   docker build -t openmofi .                                  # ONNX encoders on the CPU
#   docker build --target cuda -t openmofi:cuda .               # PyTorch and CUDA
#   docker build --target ray -t openmofi:ray .                 # a node of a Ray cluster: deploy/kuberay.yaml
#   docker run --rm -p 8000:8000 -e OPENMOFI_TOKEN=... -v "$PWD/index:/data/index" openmofi
# Packages come from requirements/, by their hashes; the base image by the digest of its manifest list.
FROM python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS wheel
WORKDIR /src
COPY requirements/build.txt ./requirements/
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE NOTICE THIRD_PARTY_NOTICES.md ./
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .

FROM python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS base
ENV PYTHONUNBUFFERED=1 OPENMOFI_HOME=/data/cache
RUN useradd --create-home --uid 10001 openmofi && mkdir -p /data && chown openmofi /data
EXPOSE 8000
WORKDIR /data
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["openmofi"]
CMD ["serve", "/data/index", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS cuda
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    --mount=type=bind,source=requirements,target=/requirements \
    pip install --no-cache-dir --no-deps --require-hashes -r /requirements/torch.txt -r /requirements/train.txt \
    && pip install --no-cache-dir --no-deps /wheel/*.whl
USER 10001

# KubeRay starts Ray in it by a command of its own, and asks the dashboard's agent, with wget, whether the node is well.
FROM base AS ray
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    --mount=type=bind,source=requirements,target=/requirements \
    pip install --no-cache-dir --no-deps --require-hashes -r /requirements/torch.txt -r /requirements/cluster.txt \
    && pip install --no-cache-dir --no-deps /wheel/*.whl
HEALTHCHECK NONE
USER 10001

FROM base AS cpu
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    --mount=type=bind,source=requirements,target=/requirements \
    pip install --no-cache-dir --no-deps --require-hashes -r /requirements/serve.txt \
    && pip install --no-cache-dir --no-deps /wheel/*.whl
USER 10001
