# The server: the steps of `make setup`, without what only training and tests need.
#
#   docker build -t spyv4 .                                 # CPU
#   docker run --rm -p 127.0.0.1:8000:8000 -e SPYV4_INSECURE=1 spyv4    # for this machine alone
#   docker run --rm -p 8000:8000 -e SPYV4_API_KEY=... spyv4             # for whoever has the key
#   docker build --build-arg DEVICE=cuda -t spyv4:cuda .    # NVIDIA GPU
#   docker run --rm --gpus all -p 8000:8000 -e SPYV4_API_KEY=... spyv4:cuda
#   docker build --build-arg EXTRAS=ray,onnx -t spyv4:ray . # for clusters of Ray (deploy/kubernetes/rayservice.yaml)
#   docker run --rm -p 9000:9000 -e SPYV4_API_KEY=... -e SPYV4_PORT=9000 spyv4   # another port
#   docker run --rm -p 8000:8000 -e SPYV4_API_KEY=... -e SPYV4_ALLOWED_HOST=spikes.example,192.168.1.5 spyv4
#       # reached as http://localhost:8000 and, from elsewhere, under these names or addresses alone
#   docker run --rm -p 127.0.0.1:8000:8000 -e SPYV4_INSECURE=1 --device /dev/video0 --group-add video spyv4 --source 0
#
# Where pip's usual index has torch with the CUDA libraries only, an image for the CPU gets smaller
# by gigabytes with `--build-arg TORCH_INDEX=...`, the address of PyTorch's wheels for the CPU.
ARG DEVICE=cpu

FROM python:3.11-slim AS cpu
ENV CUDA_VISIBLE_DEVICES=""

FROM python:3.11-slim AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${DEVICE}
ARG TORCH_INDEX=
ARG EXTRAS=app,onnx

# Libraries of the system that OpenCV's wheel loads; the compiler with which the network is compiled
# for the processor that it finds itself on, beside the first minutes of work; and what is to be the
# first process, since to such a one no signal is delivered that it does not handle yet: a server
# that is stopped while it starts would go on until it is killed. To end by SIGTERM is no failure.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libgl1 libglib2.0-0 libxcb1 tini \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 spyv4 \
    && install --directory --owner=spyv4 --group=spyv4 /home/spyv4/app /home/spyv4/.cache
USER spyv4
WORKDIR /home/spyv4/app
COPY --chown=spyv4:spyv4 . .

RUN python3 -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir --constraint requirements.lock \
        ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} --editable ".[${EXTRAS}]"

# The path is for what starts other programs of the environment, as KubeRay does with `ray`.
ENV PATH=/home/spyv4/app/.venv/bin:$PATH
ENV OMP_WAIT_POLICY=PASSIVE SPYV4_HOST=0.0.0.0 SPYV4_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD [".venv/bin/python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['SPYV4_PORT'] + '/api/health', timeout=4)"]

ENTRYPOINT ["tini", "-e", "143", "--", ".venv/bin/spyv4-serve"]
