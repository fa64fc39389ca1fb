"""alert_manager: judges every CoreC event, remembers each alert once and tells people."""
