"""Examples that `--help` shows below each command; a test types them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EXAMPLES: Mapping[str, Sequence[str]] = {
    "demo": ("", "--once"),
    "track": (
        "ID --callback-url https://example.com/hooks/luma --metadata order=1234",
        "ID --endpoint studio --event completed",
        "ID --wait && echo done",
        "--file ids.txt --account studio > tracked.jsonl",
    ),
    "get": ("ID", "ID --fresh | jq -r .assets.video", "ID --timeline"),
    "wait": ("ID", "ID ID ID --timeout 600"),
    "list": ("--state failed", "--all | jq -r .generation_id", "--model ray-2 --limit 5"),
    "cancel": ("ID ID",),
    "submissions": ("--state unknown", "sub_5b1f0c8e2d7a4f6390c1e2d3"),
    "top": ("", "--account luma", "| jq .lag_s"),
    "accounts": ("", "luma | jq .kinds"),
    "deliveries": ("--state exhausted", "--generation ID", "dlv_3f0c8b0d5a5e4c0c9f1e2d3c"),
    "replay": ("dlv_3f0c8b0d5a5e4c0c9f1e2d3c",),
    "endpoints list": ("", "--all | jq -r .name"),
    "endpoints get": ("studio",),
    "endpoints put": (
        "studio --url https://example.com/hooks/luma",
        "studio --event completed --event endpoint.disabled --header X-Team:video",
        "studio --concurrency 32",
    ),
    "endpoints enable": ("studio",),
    "endpoints disable": ("studio",),
    "endpoints rotate": ("studio --overlap 3600",),
    "endpoints test": ("studio",),
    "endpoints recover": ("studio --since 2h", "studio --since 2026-01-31T12:00:00Z"),
    "endpoints delete": ("studio",),
    "check": ("", "--online", "--worker"),
    "listen": (
        '--secret "$(dreamhook secret)"',
        '--secret "$(dreamhook secret)" --forward-to http://127.0.0.1:3000/hooks/luma',
        "--fail-first 2",
    ),
    "simulate": ("", "--speed 10 --fault get:429:times=3:retry_after=2"),
}
