# syntax=docker/dockerfile:1
# The wheel, and images that hold nothing else of the checkout:
#   docker build -t openmofi .                                  # ONNX encoders on the CPU
#   docker build --target cuda -t openmofi:cuda .               # PyTorch and CUDA
#   docker run --rm -p 8000:8000 -e OPENMOFI_TOKEN=... -v "$PWD/index:/data/index" openmofi
FROM python:3.13-slim-trixie AS wheel
WORKDIR /src
RUN pip install --no-cache-dir build==1.6.1
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
RUN python -m build --wheel --outdir /wheel

FROM python:3.13-slim-trixie AS base
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
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --no-cache-dir --constraint /constraints.txt "$(echo /wheel/*.whl)[train,serve,map]"
USER 10001

FROM base AS cpu
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --no-cache-dir --constraint /constraints.txt "$(echo /wheel/*.whl)[serve,map]"
USER 10001
