import pytest
from tests.support.instances import make_instance

from safeconduct.app.initialise import provider_party


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path, parties=[provider_party("sample-lab")]) as opened:
        yield opened


def test_an_instance_begins_with_its_officers_and_its_trust_list(embedded):
    first = embedded.state.instance
    assert len({jwk["kid"] for jwk in first.officers}) == 2
    assert first.issuer_keys[0]["kid"] == embedded.instance.keys.signer("issuer").kid
    by_party = {entry.added.party: entry.added for entry in embedded.state.trust.values()}
    assert by_party["evidence-desk"].may_sign == ("evidence_import",)
    assert by_party["provider:sample-lab"].provider == "sample-lab"
    assert all(entry.development for entry in by_party.values())
