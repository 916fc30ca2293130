from __future__ import annotations

from datetime import timedelta

from cryptography import x509

from simulator.identity import keys
from simulator.identity.authority import Authority
from simulator.identity.issuer import Issuer, Profile, authority_profile, common_name
from simulator.identity.trust import find_path, is_authority, vouches_for
from simulator.identity.validity import period
from simulator.scenario.kinds import KeyKind

DAY = period(timedelta(days=1))
KEYS = {name: keys.generate(KeyKind.EC_P256) for name in "ABL"}


def signed(subject: str, issuer: str, profile: Profile | None = None) -> x509.Certificate:
    by = Issuer(common_name(issuer), KEYS[issuer])
    profile = profile or authority_profile(path_length=3)
    return x509.load_der_x509_certificate(by.certify(subject, KEYS[subject].public_key(), DAY, profile))


def test_the_way_up_is_found_in_any_order() -> None:
    root, middle, leaf = signed("A", "A"), signed("B", "A"), signed("L", "B")
    for candidates in ([root, middle], [middle, root]):
        path = find_path(leaf, candidates)
        assert path.intermediates == (middle,)
        assert path.root == root


def test_the_way_ends_where_nobody_vouches() -> None:
    middle, leaf = signed("B", "A"), signed("L", "B")
    assert find_path(leaf, []).root is None
    path = find_path(leaf, [middle])
    assert (path.intermediates, path.root) == ((middle,), None)


def test_a_self_signed_leaf_is_its_own_root() -> None:
    leaf = signed("L", "L")
    assert find_path(leaf, [signed("A", "A")]).root == leaf
    assert find_path(leaf, []).intermediates == ()


def test_a_root_is_preferred_to_a_cross_signed_twin() -> None:
    root, cross, leaf = signed("A", "A"), signed("A", "B"), signed("L", "A")
    for candidates in ([cross, root], [root, cross]):
        assert find_path(leaf, candidates).root == root


def test_authorities_that_sign_each_other_end() -> None:
    path = find_path(signed("L", "A"), [signed("A", "B"), signed("B", "A")])
    assert path.root is None
    assert len(path.intermediates) == 2


def test_the_right_name_with_another_key_vouches_for_nothing() -> None:
    authority, other = Authority.create("Acme"), Authority.create("Acme")
    leaf = authority.issue_device("core2-00001").x509()
    assert vouches_for(authority.issuing_credential.x509(), leaf)
    assert not vouches_for(other.issuing_credential.x509(), leaf)
    assert find_path(leaf, [other.issuing_credential.x509()]).intermediates == ()


def test_who_may_sign() -> None:
    authority = Authority.create("Acme")
    bare = Profile(())
    assert is_authority(authority.root_credential.x509())
    assert not is_authority(authority.issue_device("core2-00001").x509())
    assert is_authority(signed("A", "A", bare))
    assert not is_authority(signed("L", "A", bare))
