"""What pyproject.toml cannot say: data/ stands at the top of the repository and becomes `cpmodel.data`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["cpmodel*"]), "cpmodel.data"],
    package_dir={"cpmodel.data": "data"},
    package_data={"cpmodel.data": ["*.npz", "LICENSE-*"], "cpmodel.report": ["templates/*"]},
)
