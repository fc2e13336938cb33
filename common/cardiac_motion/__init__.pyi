from .api.blood import blood_flow as blood_flow
from .api.hippocampus import segment_hippocampus as segment_hippocampus
from .api.images import read_volume as read_volume
from .api.networks import load as load
from .api.registration import register as register
from .api.strain_results import StrainResult as StrainResult
from .api.strain_results import measure_strain as measure_strain
from .api.strain_results import measure_study as measure_study
from .bundle.find import find_bundle as find_bundle
from .bundle.find import list_bundles as list_bundles
from .bundle.registration_methods import list_methods as list_methods
from .cine.cases import demo_cine as demo_cine
from .cine.read import read_cine as read_cine
from .cine.write import write_cine as write_cine
from .core.errors import InputError as InputError
from .fields.ddf import compose as compose
from .fields.ddf import invert as invert
from .fields.ddf import warp as warp
from .fields.itk_transforms import load_itk_transform as load_itk_transform
from .fields.itk_transforms import save_itk_transform as save_itk_transform
from .fields.ncc import local_ncc as local_ncc
from .fields.points import track as track
from .fields.regularity import jacobian_determinant as jacobian_determinant
from .registration.result import RegistrationResult as RegistrationResult
from .ventricle import strain as strain

__version__: str
