# One image for every process: `docker run … dreamhook serve`, `… work`, `… up`.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/dreamhook
# The requirements first: they change seldom, and their layer is then kept.
COPY requirements.lock ./
RUN /opt/dreamhook/bin/pip install --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY worker ./worker
RUN /opt/dreamhook/bin/pip install --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/dreamhook dreamhook
COPY --from=build /opt/dreamhook /opt/dreamhook
# DREAMHOOK_DATA is written to by the embedded Redis alone: `serve` and `work` with a
# DREAMHOOK_REDIS_URL write no file, so their root file system may be read-only.
ENV PATH=/opt/dreamhook/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DREAMHOOK_DATA=/var/lib/dreamhook
WORKDIR /var/lib/dreamhook
USER 10001
EXPOSE 8080
ENTRYPOINT ["dreamhook"]
CMD ["--help"]
