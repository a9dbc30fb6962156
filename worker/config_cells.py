"""Where Redis is: one, or several cells of which a process serves one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from worker.config_values import CellName, FromJson, RedisUrl, SigningSecret


class CellSettings(BaseModel):
    """The part of the settings that is about cells, and what they must agree with."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    redis_url: RedisUrl | None = Field(
        None,
        alias="DREAMHOOK_REDIS_URL",
        repr=False,
        description="a redis://, rediss://, unix:// or redis+sentinel:// URL (docs/settings.md),"
        " or unset it for the embedded Redis",
    )
    cells: Annotated[Mapping[CellName, RedisUrl], FromJson] = Field(
        default_factory=dict,
        alias="DREAMHOOK_CELLS",
        repr=False,
        description='JSON such as {"a": "redis://…", "b": "redis://…"},'
        " each name up to 32 of a-z 0-9 -",
    )
    cell: CellName | None = Field(
        None, alias="DREAMHOOK_CELL", description="one of the names in DREAMHOOK_CELLS"
    )
    webhook_secret: SigningSecret | None = Field(
        None,
        alias="DREAMHOOK_WEBHOOK_SECRET",
        repr=False,
        description="whsec_ and the base64 of 24 to 64 random bytes",
    )

    @model_validator(mode="after")
    def _cells_fit_together(self) -> Self:
        if self.cell is not None and self.cell not in self.cells:
            raise ValueError(
                f"DREAMHOOK_CELL={self.cell!r} is not in DREAMHOOK_CELLS: set it to one of"
                f" {', '.join(self.cells) or 'those that you name there'}"
            )
        if len(set(self.cells.values())) < len(self.cells):
            raise ValueError(
                "DREAMHOOK_CELLS names one Redis twice: give each cell a Redis of its own"
            )
        if self.cells and self.webhook_secret is None:
            raise ValueError(
                "DREAMHOOK_CELLS needs DREAMHOOK_WEBHOOK_SECRET, or each cell would sign with a"
                " secret of its own: set it (`dreamhook secret` shows the present one)"
            )
        if self.cells and self.redis_url is not None and self.cell is None:
            raise ValueError(
                "DREAMHOOK_CELLS and DREAMHOOK_REDIS_URL both say where Redis is: unset one"
            )
        return self

    @property
    def is_divided(self) -> bool:
        """Whether these settings are about several cells, and not about one of them."""
        return bool(self.cells) and self.cell is None

    def of_cell(self, name: str) -> Self:
        """Get the settings of one cell, which is a deployment by itself."""
        return self.model_copy(update={"redis_url": self.cells[name], "cell": name})
