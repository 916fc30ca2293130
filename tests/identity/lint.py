"""The public certificate linter (pkilint, RFC 5280 profile), asked in this process."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pkilint import loader, pkix
from pkilint.pkix import certificate, crl, extension, name
from pkilint.validation import ValidationFindingSeverity

if TYPE_CHECKING:
    from pkilint.validation import ValidatorContainer


def errors(der: bytes) -> list[str]:
    """Return the findings of severity error or fatal; the validators are those of ``lint_pkix_cert``."""
    document = loader.load_certificate(der, "certificate")
    return [
        finding.finding.code
        for result in _validators().validate(document.root)
        for finding in result.finding_descriptions
        if finding.finding.severity <= ValidationFindingSeverity.ERROR
    ]


@cache
def _validators() -> ValidatorContainer:
    decoding = certificate.create_decoding_validators(
        name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
    )
    return certificate.create_pkix_certificate_validator_container(
        decoding,
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def crl_errors(der: bytes) -> list[str]:
    """Return the findings of severity error or fatal; the validators are those of ``lint_crl -p PKIX``."""
    document = loader.load_der_crl(der, "list")
    return [
        finding.finding.code
        for result in _crl_validators().validate(document.root)
        for finding in result.finding_descriptions
        if finding.finding.severity <= ValidationFindingSeverity.ERROR
    ]


@cache
def _crl_validators() -> ValidatorContainer:
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )
