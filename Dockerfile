# edgekd in a container.
#   CPU:     docker build -t edgekd .
#   CUDA:    docker build -t edgekd:cuda --build-arg BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04 .
#   Jetson:  docker build -t edgekd:jetson --build-arg BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0 .
# Where no image can be pulled, tests/container/build.sh builds the first by buildah on a base of debootstrap's.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG BASE
# Another index of torch and torchvision, or, left empty, pip's own: on x86 its torch brings CUDA.
ARG TORCH_INDEX

# The compiler is torch.compile's: g++ for CPUs, Python's headers for Triton. ssh reaches devices.
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv python3-dev g++ openssh-client \
 && rm -rf /var/lib/apt/lists/*

# Without CUDA torch is an eighth of the size. Alone from its index: a build that cannot reach it fails, and never goes on
# with another torch. A CUDA base takes pip's own; a Jetson base uses the torch of JetPack where it has one.
WORKDIR /opt/edgekd
COPY constraints.txt ./
RUN python3 -m venv --system-site-packages /opt/venv \
 && case "${BASE}" in \
      *cuda*|*l4t*) index="${TORCH_INDEX}" ;; \
      *) index="${TORCH_INDEX-https://download.pytorch.org/whl/cpu}" ;; \
    esac \
 && if [ -n "${index}" ]; then \
      /opt/venv/bin/pip install --no-cache-dir --no-deps --index-url "${index}" --constraint constraints.txt \
        torch torchvision; \
    fi

COPY pyproject.toml README.md LICENSE ./
COPY edgekd edgekd
COPY recipes recipes
RUN /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[train]'

ENV PATH=/opt/venv/bin:${PATH}
WORKDIR /project
ENTRYPOINT ["edgekd"]
CMD ["--help"]
