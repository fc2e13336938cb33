"""Bundles outside the repository."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "config": ["config_files", "content", "parse_config"],
        "find": ["Bundle", "download_bundle", "find_bundle", "list_bundles", "user_bundles"],
        "registration_methods": ["METHODS", "RegistrationMethod", "list_methods", "method_files"],
    },
)
