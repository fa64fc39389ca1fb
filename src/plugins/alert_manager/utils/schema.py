"""The version of alert_db's tables that this code is written for."""

from __future__ import annotations

SCHEMA_VERSION = 14
"""As `configs/plugins/alert_manager/schema.sql` says of `alerts` in a comment."""
