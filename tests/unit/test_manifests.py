"""The Kubernetes manifests: valid against the published schemas, and saying what the documentation says."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((ROOT / "k8s").rglob("*.yaml"))
VERSIONS = ("1.29", kubernetes_validate.latest_version())
Document = dict[str, Any]


def documents(*names: str) -> list[Document]:
    """Return the documents of the named manifests, or of all."""
    files = [file for file in MANIFESTS if not names or file.name in names]
    return [document for file in files for document in yaml.safe_load_all(file.read_text("utf-8"))]


def only(kind: str, name: str) -> Document:
    """Return the one object of that kind and name."""
    (found,) = [one for one in documents() if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_every_manifest_is_valid_for_kubernetes(file: Path, version: str) -> None:
    for document in documents(file.name):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_validation_can_fail() -> None:
    job = only("Job", "noetl-apply-schema")
    job["spec"]["backofLimit"] = job["spec"].pop("backoffLimit")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[-1], strict=True)


def test_the_job_applies_the_packaged_ddl_with_retries_and_cleans_up() -> None:
    spec = only("Job", "noetl-apply-schema")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["noetl", "db", "apply-schema", "--ensure-role"]
    assert spec["backoffLimit"] > 0
    assert spec["ttlSecondsAfterFinished"] > 0
    assert container["envFrom"] == [
        {"configMapRef": {"name": "postgres-config"}},
        {"secretRef": {"name": "postgres-secret"}},
    ]


@pytest.mark.parametrize(("kind", "name"), [("Job", "noetl-apply-schema"), ("Deployment", "postgres")])
def test_no_pod_gets_variables_of_services(kind: str, name: str) -> None:
    """A Service called postgres would set POSTGRES_PORT to tcp://..., which hides nothing only if it is off."""
    assert only(kind, name)["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_config_and_secret_hold_all_that_the_job_needs() -> None:
    config = set(only("ConfigMap", "postgres-config")["data"])
    secret = set(only("Secret", "postgres-secret")["stringData"])
    assert not config & secret
    assert not {name for name in config if "PASSWORD" in name}
    assert config | secret >= {
        *(f"POSTGRES_{name}" for name in ("HOST", "PORT", "DB", "USER", "PASSWORD")),
        *(f"NOETL_{name}" for name in ("USER", "PASSWORD", "SCHEMA")),
    }


def test_only_the_servers_configuration_is_mounted() -> None:
    assert list(only("ConfigMap", "postgres-config-files")["data"]) == ["postgres.conf"]
    pod = only("Deployment", "postgres")["spec"]["template"]["spec"]
    mounted = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    assert mounted == ["postgres-config-files"]
    (container,) = pod["containers"]
    assert "config_file=/etc/postgres/postgres.conf" in container["args"]


def test_everything_stands_in_the_namespace_postgres() -> None:
    assert only("Namespace", "postgres")
    assert {one["metadata"]["namespace"] for one in documents() if one["kind"] != "Namespace"} == {"postgres"}


def test_the_service_is_the_host_that_the_configuration_names() -> None:
    service = only("Service", "postgres")
    config = only("ConfigMap", "postgres-config")["data"]
    assert config["POSTGRES_HOST"] == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert config["POSTGRES_PORT"] == str(service["spec"]["ports"][0]["port"])
    labels = only("Deployment", "postgres")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
