# One image for the API and for the pool: the same code, started with two commands.

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# The dependencies first, around an empty package: they change less often than the code.
COPY pyproject.toml README.md LICENSE ./
RUN mkdir redispatcher_fastapi \
    && touch redispatcher_fastapi/__init__.py \
    && pip install --no-cache-dir '.[all,example]'
COPY redispatcher_fastapi redispatcher_fastapi
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home app \
    && install --directory --owner app /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY example_app example_app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    DATA_DIR=/data \
    PYTHONUNBUFFERED=1
# The API and the pool share what the example keeps in files.
VOLUME /data
USER 10001
EXPOSE 8000
# The pool stops claiming on SIGTERM and finishes what it holds, so no shell may stand in between.
STOPSIGNAL SIGTERM
CMD ["uvicorn", "example_app.main:app", "--host", "0.0.0.0", "--port", "8000"]
