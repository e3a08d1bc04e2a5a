# Keyfold's image: the program, the libraries that it loads, and the certificates of public authorities. No shell, no
# package manager, one user without rights. It runs with a read-only root directory.
#
#     docker build -t keyfold .
#     docker run --read-only --cap-drop ALL --env-file settings.env -p 8000:8000 keyfold
#
# Tested without Docker: the last stage is laid out by deploy/image-root.sh and started in a directory of its own, as
# its user, read-only, with the variables and commands that stand here. Not tested: the pulling of the two base images
# and the first two stages as Docker runs them; what they run is what `make build` runs, and .dockerignore is looked through
# for files that they need.

FROM node:24-bookworm-slim AS page
WORKDIR /src
COPY clients/typescript clients/typescript
COPY frontend frontend
WORKDIR /src/frontend
RUN npm ci --ignore-scripts --no-audit --no-fund && npm run build

# Debian of the same version as the machine on which it is tested, since the libraries below come from here.
FROM rust:1.95.0-slim-bookworm AS program
# Without it rustup would fetch what only developers need.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
COPY --from=page /src/frontend/dist frontend/dist
RUN cargo build --release --locked -p keyfold-server --bin keyfold \
    && deploy/image-root.sh target/release/keyfold /image /state

FROM scratch
COPY --from=program /image/ /
# What is recorded of uses, for the second until it is in the database. Mount a volume here to keep it when the
# container is replaced, or set KEYFOLD_AUDIT_DURABILITY=strict. Where it cannot be written, strict it is. It is not
# in /image: a directory that is already there keeps its owner, whatever --chown says.
COPY --from=program --chown=10001:10001 /state/ /var/lib/
USER 10001:10001
# Without settings it must not take itself for a developer's machine.
ENV DEPLOY_ENV=docker
ENV KEYFOLD_STATE_DIR=/var/lib/keyfold
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 CMD ["/usr/local/bin/keyfold", "ready"]
ENTRYPOINT ["/usr/local/bin/keyfold"]
CMD ["serve"]
