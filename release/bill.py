"""The software bill of materials: CycloneDX 1.6 as JSON, of the packages that a zipapp holds."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution
from typing import Any

from release.dependencies import DEPENDENCIES, ROOT, needed_by

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/miroir")


def bill_of_materials(packages: Mapping[str, Distribution], *, at: float) -> str:
    """The document. `packages`: by canonical name, miroir among them; `at`: seconds since 1970."""
    references = {name: _purl(name, package) for name, package in packages.items()}
    components = {name: _component(name, package, references[name]) for name, package in packages.items()}
    subject = {**components.pop(ROOT), "type": "application"}
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, ' '.join(sorted(references.values())))}",
        "version": 1,
        "metadata": {"timestamp": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "component": subject},
        "components": list(components.values()),
        "dependencies": [
            {"ref": references[name], "dependsOn": _depends_on(package, references)}
            for name, package in packages.items()
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _component(name: str, package: Distribution, reference: str) -> dict[str, Any]:
    licence = "MIT" if name == ROOT else DEPENDENCIES[name].licence
    compound = " " in licence
    metadata: Any = package.metadata
    return {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": package.version,
        "description": metadata.get("Summary", ""),
        "licenses": [{"expression": licence}] if compound else [{"license": {"id": licence}}],
        "purl": reference,
    }


def _purl(name: str, package: Distribution) -> str:
    return f"pkg:pypi/{name}@{package.version}"


def _depends_on(package: Distribution, references: Mapping[str, str]) -> list[str]:
    return sorted({references[name] for name, _ in needed_by(package) if name in references})
