"""Secrets bundles: read and written in both forms, their parts, the same bundle out of a configuration."""

from datetime import datetime

from talos import pem
from talos.config import generate
from talos.config.errors import error_list
from talos.contract import VersionContract
from talos.machinetype import MachineType
from talos.secrets import Bundle, BundleError
from tests.talos.vectors import unequal
from tests.talos.vectors.pki import KEY_TYPES, fields


def cases(data, folder):
    """Bundles without certificates listed are there for other kinds only."""
    for case in data:
        if "certificates" in case:
            yield case["name"], case


def check(case):
    try:
        bundle = Bundle.from_yaml(case["yaml"])
    except BundleError as error:
        wanted = dict.fromkeys(case["validateByContract"], error_list(error.problems))
        return unequal("validation", wanted, case["validateByContract"])
    authorities = {"etcd": bundle.etcd, "k8s": bundle.k8s, "k8saggregator": bundle.k8s_aggregator, "os": bundle.os}
    keys = {name: ca.key for name, ca in authorities.items()} | {"k8sserviceaccount": bundle.k8s_service_account}
    service_account = pem.load_key(bundle.k8s_service_account)
    kind = next(name for cls, _, name in KEY_TYPES if isinstance(service_account, cls)).removeprefix("*x509.")
    certificates = {name: fields(ca.certificate) for name, ca in authorities.items()}
    return (
        unequal("YAML", bundle.to_yaml(), case["yaml"])
        or unequal("JSON", bundle.to_json(), case["omniJSON"])
        or unequal("read from JSON", Bundle.from_json(case["omniJSON"]).to_yaml(), case["yaml"])
        or unequal("certificates", certificates, case["certificates"])
        or unequal("key labels", {name: pem.first_block(key)[0] for name, key in keys.items()}, case["keyPEMLabels"])
        or unequal("service account key", kind, case["serviceAccountKeyType"])
        or unequal(
            "service account public key",
            pem.encode_public_key(service_account.public_key()).decode(),
            case["serviceAccountPublicKeyPEM"],
        )
        or unequal("validation", dict.fromkeys(case["validateByContract"]), case["validateByContract"])
        or check_new(case)
        or check_config(bundle, case["fromControlPlaneConfig"])
    )


def check_new(case):
    """A new bundle of the same contract has the same fields."""
    from talos import pki

    now = datetime.fromisoformat(case["generatedAt"])
    made = {
        "etcd": pki.etcd_ca(now),
        "k8s": pki.kubernetes_ca(now),
        "k8saggregator": pki.aggregator_ca(now),
        "os": pki.talos_ca(now),
    }
    for name, ca in made.items():
        want = {field: value for field, value in case["certificates"][name].items() if field != "subjectKeyIdHex"}
        got = {field: value for field, value in fields(ca.certificate).items() if field != "subjectKeyIdHex"}
        random = ("serialHex", "sha256", "spkiFingerprint")
        difference = unequal(
            f"new {name}",
            {field: value for field, value in got.items() if field not in random},
            {field: value for field, value in want.items() if field not in random},
        ) or unequal(f"new {name} key", pem.first_block(ca.key)[0], case["keyPEMLabels"][name])
        if difference:
            return difference
    return None


def check_config(bundle, case):
    """Generate a control plane's configuration and collect the bundle from it again."""
    given = generate.GenerateInput(
        cluster_name="c",
        endpoint="https://c:6443",
        kubernetes_version="1.31.0",
        bundle=bundle,
        contract=VersionContract.parse(case["contract"]),
    )
    config = generate.generate(given, MachineType.CONTROLPLANE)
    try:
        found = Bundle.from_config(config)
    except BundleError as error:
        return unequal("from a configuration", error_list(error.problems), case["validateError"])
    return unequal("validation", None, case["validateError"]) or unequal(
        "from a configuration", found == bundle, case["equalsBundle"]
    )
