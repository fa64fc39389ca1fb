"""The parts of `/health` that are known without asking: delivery, its channels, and our tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from .domain.delivery import ChannelState
from .health import Part

_RESTART = "terminó la tarea {}: reinicia CoreC (el registro dice por qué)"


def delivery_parts(
    states: Mapping[str, ChannelState],
    machines: Collection[str],
    ended: Sequence[str],
    trouble: str | None,
) -> dict[str, Part]:
    """Returns the state of delivery, and of each notification channel.

    Args:
        states: how each channel is doing.
        machines: the channels that wake nobody.
        ended: the tasks that ended by themselves.
        trouble: why alert_db gives no messages, or takes no outcomes; None: it does.
    """
    parts = {f"canal {name}": _channel(state) for name, state in states.items()}
    return {"entrega": _delivery(states, machines, ended, trouble), **parts}


def tasks_part(ended: Sequence[str]) -> Part:
    """Returns the state of the tasks that watch over the rest."""
    if ended:
        return Part(False, _RESTART.format(", ".join(ended)), restart=True)
    return Part(True, "ok")


def _delivery(
    states: Mapping[str, ChannelState],
    machines: Collection[str],
    ended: Sequence[str],
    trouble: str | None,
) -> Part:
    if ended:
        return Part(False, _RESTART.format(", ".join(ended)), restart=True)
    if trouble is not None:
        return Part(False, f"no se reparte ningún aviso: {trouble}")
    people = {name: state for name, state in states.items() if name not in machines}
    # Where only machines are told, the log is what people look at.
    if all(state.cannot_tell for state in (people or states).values()) and states:
        return Part(False, "ningún canal puede avisar a nadie ahora: lo que haya espera")
    return Part(True, "ok")


def _channel(state: ChannelState) -> Part:
    error = state.last_error
    if state.disabled is not None:
        how = f"deshabilitado: {state.disabled}. Corrígelo en alert_manager.yaml: al guardarlo vale"
        return Part(False, how, vital=False)
    if state.breaker == "open":
        return Part(False, f"circuit breaker abierto: {error}", vital=False)
    if state.breaker == "half_open":
        how = f"circuit breaker abierto, el próximo aviso lo prueba: {error}"
        return Part(False, how, vital=False)
    if state.held:
        return Part(False, f"su servidor pide esperar: {error}", vital=False)
    return Part(True, error or "ok", vital=False)
