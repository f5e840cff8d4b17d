"""The flags of the command line. Each but `--demo` has an environment variable."""

import argparse
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from .. import __version__
from ..pg.connection import STATEMENT_TIMEOUT
from ..pg.database import POOL_SIZE
from ..web.security import ORIGIN
from .embedded import default_data_dir

USAGE = "inventory-ws [opciones] [schema | reset BASE]; las opciones: inventory-ws --help"
SWITCH = dict.fromkeys(("1", "true", "yes", "on", "sí", "si"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


def parser() -> argparse.ArgumentParser:
    """Return the parser. A flag wins over its variable."""

    def flag(name: str, text: str, default: object = None, variable: str = "", **options: Any) -> None:
        variable = variable or f"INVENTORY_WS_{name.upper().replace('-', '_')}"
        # An empty variable counts as unset; an empty HOST would mean all interfaces.
        value = os.environ.get(variable) or default
        if "action" in options and (value := SWITCH.get(str(value).lower())) is None:
            flags.error(f"{variable}={os.environ[variable]}: no es ni 1 ni 0")
        flags.add_argument(f"--{name}", default=value, help=f"{text} ({variable})", **options)

    flags = argparse.ArgumentParser("inventory-ws", USAGE, "Un inventario cuyos cambios llegan a toda pantalla.")
    text = "schema: escribe el esquema SQL y termina; reset BASE: el SQL que deja la base de ese nombre con la muestra sola"
    flags.add_argument("command", nargs="?", choices=["schema", "reset"], help=text)
    flags.add_argument("base", nargs="?", default="", help="para reset: el nombre de la base de datos que se vacía")
    flag("host", "dirección en la que escucha, %(default)s; 0.0.0.0: todas, para otras máquinas", "127.0.0.1", "HOST")
    flag("port", "puerto, %(default)s", "3000", "PORT", type=int)
    url = "PostgreSQL, como postgresql://usuario@servidor/base; sin ella, el PostgreSQL incluido"
    flag("database-url", url, variable="DATABASE_URL")
    data = default_data_dir()
    flag("data-dir", "carpeta del PostgreSQL incluido, %(default)s", data, "INVENTORY_WS_DATA", type=Path)
    flag("tls-cert", "certificado (PEM, con su cadena): la página es https; SIGHUP lo lee otra vez")
    flag("tls-key", "su clave privada; sin ella, está en el mismo archivo")
    flag("origins", "páginas de otros sitios, separadas por comas; null: las de un archivo", "", type=_origins)
    flag("hosts", "otros nombres por los que se le llama, o redes como 10.0.0.0/8, con comas", "", type=_hosts)
    flag("max-sockets", "clientes conectados a la vez, %(default)s", "10000", type=_number)
    flag("token", "clave que se pide a los clientes")
    flag("open-reads", "con --token: leer no la necesita, cambiar sí", False, action="store_true")
    flag("compress", "permessage-deflate: menos bytes, algo más de trabajo", False, action="store_true")
    flag("keep-days", "borra del registro los eventos de más días; sin él, ninguno", type=_days)
    flag("keep-events", "borra del registro los eventos que pasen de tantos; sin él, ninguno", type=_number)
    flag("pool-size", "conexiones a PostgreSQL para los cambios; hay cuatro más, %(default)s", POOL_SIZE, type=_number)
    flag("statement-timeout", "segundos para cada consulta, %(default)s", STATEMENT_TIMEOUT, type=float)
    flag("ping-every", "segundos entre los PING a cada cliente, %(default)s", 20.0, type=float)
    flag("title", "título de la página; sin él, Inventario", type=_text)
    flag("currency", "moneda de los precios, como EUR; sin ella, $", type=_text)
    flags.add_argument("--demo", action="store_true", help="pone un catálogo de muestra si el inventario está vacío")
    flags.add_argument("--version", action="version", version=__version__)
    return flags


def _words(text: str) -> frozenset[str]:
    return frozenset(filter(None, map(str.strip, text.split(","))))


def _origins(text: str) -> frozenset[str]:
    for origin in (origins := _words(text)):
        if not ORIGIN.fullmatch(origin):
            raise argparse.ArgumentTypeError(f"{origin}: no es un origen, como https://tienda.example, ni null")
    return origins


def _hosts(text: str) -> frozenset[str]:
    hosts = _words(text)
    for network in [host for host in hosts if set("/:*") & set(host)]:
        try:
            ip_network(network, strict=False)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(f"{network}: no es un nombre ni una red, como 10.0.0.0/8") from exc
    return hosts


def _text(text: str) -> str:
    text.encode()  # ValueError: the environment is not in UTF-8
    return text


def _number(text: str) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text}: no puede ser menor que 0")
    return number


def _days(text: str) -> float:
    if not 0 <= (days := float(text)) < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: no es un número de días")
    return days
