# edgekd in a container.
#   CPU:     docker build -t edgekd .
#   CUDA:    docker build -t edgekd:cuda --build-arg BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04 .
#   Jetson:  docker build -t edgekd:jetson --build-arg BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0 .
# The CPU image takes torch and torchvision from PyTorch's CPU index: without CUDA it is a tenth of the size.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG BASE
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv python3-dev gcc \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/edgekd
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY edgekd edgekd
COPY recipes recipes

# A CUDA base takes the default wheels, which bring CUDA; a Jetson base uses the torch of JetPack where it has one.
RUN python3 -m venv --system-site-packages /opt/venv \
 && case "${BASE}" in \
      *cuda*) index="" ;; \
      *l4t*)  index="" ;; \
      *)      index="--extra-index-url ${TORCH_INDEX}" ;; \
    esac \
 && /opt/venv/bin/pip install --no-cache-dir ${index} --constraint constraints.txt .

ENV PATH=/opt/venv/bin:${PATH}
WORKDIR /project
ENTRYPOINT ["edgekd"]
CMD ["--help"]
