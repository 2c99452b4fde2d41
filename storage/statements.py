"""What a statement of SQL reads, as DuckDB parses it."""

import json

from actlake.storage.handle import Handle, first_row

__all__ = ["tables_named"]


def tables_named(connection: Handle, select: str) -> set[str]:
    """Names that stand where a table does; of what is no SELECT, none: it is refused later."""
    parse = "SELECT json_serialize_sql($select::VARCHAR)"
    found = first_row(connection.execute(parse, {"select": select}))
    waiting, names = [json.loads(found[0]) if found else None], set[str]()
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("type") == "BASE_TABLE":
                names.add(str(node["table_name"]).lower())
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return names
