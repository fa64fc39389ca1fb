"""Secrets in every form that host and plugin have to hide: one table for both."""

from __future__ import annotations

SECRET = "hunter2-K3Y"

KEYS = (
    "password", "Contraseña", "x-api-key", "api_key", "apiKey", "clave", "db_dsn", "authorization",
    "cookie", "pin", "pwd", "passphrase", "seed_phrase", "smtp_pass", "private_key", "cvv", "otp",
    "access_token", "client_secret", "credentials", "webhook_url", "mnemonic", "auth",
    "webhookUrl", "userPwd", "pinCode", "cvc",
)  # fmt: skip

TEXTS = (
    f"password={SECRET}",
    f"password: {SECRET}",
    f"{{'password': '{SECRET}'}}",
    f'{{"api_key": "{SECRET}"}}',
    f"contraseña: {SECRET}",
    f"host=h password='a {SECRET} b' user=u",
    f"https://api.example.com/x?api_key={SECRET}&a=1",
    f"postgres://user:{SECRET}@host/db",
    f"postgres://user:pa@{SECRET}@host/db",
    f"redis://:pa/{SECRET}@host",
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{SECRET}",
    f"https://discord.com/api/webhooks/1188000000000000001/{SECRET}abcdefghijkl",
    f"Authorization: Basic {SECRET}",
    f"Bearer {SECRET}abcdefgh",
    f"smtp_pass={SECRET}",
)

PLAIN = (
    "Error 503: upstream",
    "http://h/a?b=c@d",
    "BTC/USDT a 35000.5 en binance, orden 8871",
    "No se pudo conectar a user_db",
)
