"""The commands of the specification that need Docker, to the letter, and what they lead to."""

from __future__ import annotations

SIMULATION = r"""
# Alerta crítica
docker exec corec_v4-postgres-1 psql -U corec_user -d corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('alertas', '{\"data\": \"$(echo '{\"tipo\": \"circuit_breaker_tripped\", \"plugin\": \"trading_execution\"}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"

# trading_results
docker exec corec_v4-postgres-1 psql -U corec_user -d corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('trading_results', '{\"data\": \"$(echo '{\"profit\": -150.0, \"symbol\": \"BTC/USDT\", \"exchange\": \"binance\", \"user_id\": \"user1\"}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"

# capital_data
docker exec corec_v4-postgres-1 psql -U corec_user -d corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('capital_data', '{\"data\": \"$(echo '{\"user_id\": \"user1\", \"action\": \"withdraw\", \"amount\": 600.0}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"

# macro_data
docker exec corec_v4-postgres-1 psql -U corec_user -d corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('macro_data', '{\"sp500_price\": 4500.0, \"vix_price\": 22.0}', EXTRACT(EPOCH FROM NOW()), 'corec1');"

# settlement_data
docker exec corec_v4-postgres-1 psql -U corec_user -d corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('settlement_data', '{\"data\": \"$(echo '{\"roi_percent\": -6.0}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"
"""  # noqa: E501
LOOK = (
    'docker exec -it corec_v4-alert_db-1 psql -U alert_user -d alert_db -c "SELECT * FROM alerts;"'
)
SCHEMA = """
docker cp configs/plugins/alert_manager/schema.sql corec_v4-alert_db-1:/schema.sql
docker exec corec_v4-alert_db-1 psql -U alert_user -d alert_db -f /schema.sql
"""
TITLES = [
    "Circuit breaker abierto en trading_execution",
    "Pérdida de $150.00 en BTC/USDT",
    "Retiro de $600.00 de user1",
    "VIX en 22",
    "ROI del día: -6 %",
]
