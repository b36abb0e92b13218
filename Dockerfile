# The relay's image: two stages, so that pip and its caches stay behind. Plain Dockerfile
# syntax: the classic builder and BuildKit both build it.

FROM python:3.13-slim-trixie AS build
WORKDIR /build
COPY requirements/relay.txt requirements.txt
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --require-hashes --only-binary :all: --no-compile --target /opt/relay --report report.json \
        -r requirements.txt \
 && rm -rf /opt/relay/bin \
 && find /opt/relay \( -name tests -o -name testing -o -name mypy \) -type d -prune -exec rm -rf {} + \
 && find /opt/relay \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.c' -o -name '*.h' \) -delete
COPY relay /opt/relay/relay
# The bill of materials: what scanners look for in an image, by this ending.
COPY pyproject.toml requirements/sbom.py ./
RUN PYTHONPATH=/opt/relay python sbom.py --report report.json --pyproject pyproject.toml \
        > /opt/relay/sbom.cdx.json
# The root file system is read-only at run time, so what Python would compile is compiled here.
RUN python -m compileall -q --invalidation-mode unchecked-hash -x 'pygments/(lexers|styles)/' /opt/relay \
 && printf '#!/usr/local/bin/python\n' | cat - /opt/relay/relay/__main__.py > /opt/relay/entry \
 && chmod 0755 /opt/relay/entry

FROM python:3.13-slim-trixie
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="relay" \
      org.opencontainers.image.description="Puts the real credential into an AI agent's LLM calls and measures them" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-trixie"
ENV PYTHONPATH=/opt/relay \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/relay /opt/relay
# A new volume takes over its folder's mode: whatever uid makes the token or the ledger can write it,
# and whatever uid it is the next time can replace the variables that are kept. And no program of the
# base lends anyone another user's rights, however the container is started.
RUN ln -s /opt/relay/entry /usr/local/bin/relay \
 && mkdir -m 1777 /run/relay /run/hop /var/lib/relay && mkdir -m 0777 /run/variables \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
WORKDIR /
USER 10001:10001
EXPOSE 8484 9484
# On a machine that is busy a Python takes seconds to start: that is no reason to call a relay ill.
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s --retries=3 CMD ["relay", "health"]
ENTRYPOINT ["python", "-m", "relay"]
CMD ["serve"]
