#!/usr/bin/env bash
# Sends the five events of the specification, with its own shell quoting, to the running corec_db.
set -euo pipefail

PROJECT="$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# shellcheck source=scripts/lib.sh
. "$PROJECT/scripts/lib.sh"

psql() {
  "$PROJECT/scripts/psql.sh" corec_db "$@"
}

# Alerta crítica
psql -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('alertas', '{\"data\": \"$(echo '{\"tipo\": \"circuit_breaker_tripped\", \"plugin\": \"trading_execution\"}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"
# trading_results
psql -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('trading_results', '{\"data\": \"$(echo '{\"profit\": -150.0, \"symbol\": \"BTC/USDT\", \"exchange\": \"binance\", \"user_id\": \"user1\"}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"
# capital_data
psql -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('capital_data', '{\"data\": \"$(echo '{\"user_id\": \"user1\", \"action\": \"withdraw\", \"amount\": 600.0}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"
# macro_data
psql -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('macro_data', '{\"sp500_price\": 4500.0, \"vix_price\": 22.0}', EXTRACT(EPOCH FROM NOW()), 'corec1');"
# settlement_data
psql -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('settlement_data', '{\"data\": \"$(echo '{\"roi_percent\": -6.0}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"

cat <<'FIN'

Enviados cinco eventos. Mira lo que llega (cinco alertas: una crítica y cuatro altas):
  ./scripts/alerts.sh list
  ./scripts/psql.sh alert_db -c "SELECT id, severity, message FROM alerts ORDER BY id DESC LIMIT 5;"
Si repites la simulación antes de una hora no hay alertas nuevas: se cuentan en las mismas.
FIN
