# SuperExec with the app's dependencies: it runs the ServerApp at the coordinator and the ClientApp at a participant.
# Build from the repository root:  docker build -f deployments/superexec.Dockerfile -t flower-robust/superexec:1.41.0 .
FROM flwr/superexec:1.41.0

WORKDIR /app
# torch comes first and alone: a spelling that lets the resolver choose pulls gigabytes of CUDA.
RUN python -m pip install --no-cache-dir torch==2.13.0
COPY --chown=app:app pyproject.toml constraints.txt README.md LICENSE ./
COPY --chown=app:app flower_robust ./flower_robust
RUN python -m pip install --no-cache-dir --constraint constraints.txt . "scikit-learn>=1.5"

# Clients load these instead of a compiler; without them the first message pays for it.
RUN python -m flower_robust.masking.kernels.build

# SuperExec looks for work once a second unless told otherwise; that wait lies in every exchange.
ENV FLWR_SUPEREXEC_TASK_POLL_INTERVAL=0.1 FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
ENTRYPOINT ["flower-superexec"]
