#!/usr/bin/env python3
"""Checks every manifest under config/ against the schema of its kind, strictly: unknown fields are errors.

Kubernetes' own kinds by the schemas that kubernetes-validate brings along, those of Flux and of the Prometheus operator
by the models that cloudcoil makes of their definitions. What no schema is to be had for is listed here, and told.
Before anything is believed, mistakes have to be found in a copy of each manifest.
"""

import copy
import logging
import pathlib
import sys

import kubernetes_validate
import yaml
from cloudcoil.models.fluxcd.kustomize import v1 as flux_kustomize
from cloudcoil.models.fluxcd.source import v1beta2 as flux_source
from cloudcoil.models.prometheus_operator import v1 as prometheus
from pydantic import ValidationError

ROOT = pathlib.Path(__file__).resolve().parents[2] / "config"
# The oldest and the newest release that the manifests are held to.
KUBERNETES = ("1.27", "1.37")
DIRECTORIES = ("container", "kubernetes", "recipes", "systemd")

# For OCIRepository v1 there are no models for this Python; v1beta2 has the same fields.
MODELS = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): prometheus.ServiceMonitor,
    ("source.toolkit.fluxcd.io/v1", "OCIRepository"): flux_source.OCIRepository,
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"): flux_kustomize.Kustomization,
}
UNCHECKED = {
    ("argoproj.io/v1alpha1", "Application"),
    ("kappctrl.k14s.io/v1alpha1", "App"),
    ("packaging.carvel.dev/v1alpha1", "PackageRepository"),
    # No objects of a cluster; a test holds the list of resources.
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
    ("vendir.k14s.io/v1alpha1", "Config"),
}


class Wrong(Exception):
    """What is wrong with a manifest."""


def check(manifest):
    """Raises Wrong, or tells whether there is a schema for it."""
    kind = (manifest["apiVersion"], manifest["kind"])
    if kind in UNCHECKED:
        return False
    if kind in MODELS:
        model = MODELS[kind]
        known = {**manifest, "apiVersion": model.model_fields["api_version"].default}
        try:
            model.model_validate(known, extra="forbid", by_alias=True, by_name=False)
        except ValidationError as error:
            raise Wrong(error) from error
        return True
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except Exception as error:  # Each mistake has a class of its own, without one in common.
            raise Wrong(f"{version}: {error}") from error
    return True


def mistakes(manifest):
    """Copies with an unknown field, and with a field of another type, as deep as it goes."""
    unknown = copy.deepcopy(manifest)
    inner = unknown.get("spec", unknown)
    inner["notAField"] = "x"
    yield unknown
    other = copy.deepcopy(manifest)
    other["metadata"] = "x"
    yield other


def manifests():
    for directory in DIRECTORIES:
        for file in sorted((ROOT / directory).rglob("*.y*ml")):
            for document in yaml.safe_load_all(file.read_text()):
                # The others are Colocate's own configurations, which tests check.
                if "apiVersion" in document:
                    yield file.relative_to(ROOT), document


def main():
    logging.disable(logging.WARNING)
    checked = wrong = 0
    for name, manifest in manifests():
        told = f"{name}: {manifest['apiVersion']} {manifest['kind']}"
        try:
            if not check(manifest):
                print(f"{told}: no schema to check it with")
                continue
        except Wrong as error:
            wrong += 1
            print(f"{told}: {error}")
            continue
        for mistake in mistakes(manifest):
            try:
                check(mistake)
            except Wrong:
                continue
            wrong += 1
            print(f"{told}: a mistake in it is not found")
        checked += 1
    print(f"{checked} manifests are right, {wrong} are wrong")
    return 0 if checked > 0 and wrong == 0 else 1


sys.exit(main())
