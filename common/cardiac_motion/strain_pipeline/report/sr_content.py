"""What a structured report of strain holds: TID 5300 (Simplified Echo Procedure Report) by highdicom.

Global strains have codes of their own (CID 12309) and are pre-coordinated measurements (TID 5301); strains of segments
(sites of CID 3781) are post-coordinated (TID 5302) with the modifiers of DICOM PS3.17, annex CCCC. Only the
endocardium's global strain has such codes; of other lines no GLS is written. Numbers that are not known are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import highdicom
import pydicom
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ComprehensiveSR,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from cardiac_motion.strain_pipeline.report.html import CAUTION
from cardiac_motion.strain_pipeline.strain_case import StudyView
from cardiac_motion.ventricle.views import RING

CONTAINS, MODIFIES = RelationshipTypeValues.CONTAINS, RelationshipTypeValues.HAS_CONCEPT_MOD
PROPERTY, CONTEXT = RelationshipTypeValues.HAS_PROPERTIES, RelationshipTypeValues.HAS_OBS_CONTEXT
SOURCE = RelationshipTypeValues.INFERRED_FROM

SCHEME = "99CMB"
CHAMBERS = {"apical_4ch": "4CH", "apical_2ch": "2CH", "apical_long_axis": "ALAX"}
WALLS = dict(zip(RING, ("A", "AS", "IS", "I", "IL", "AL"), strict=True))
LAYERS = {
    "endocardium": codes.DCM.EndocardialMethod,
    "mid-wall": codes.DCM.MyocardialMidlayerMethod,
    "epicardium": codes.DCM.EpicardialMethod,
}
IMAGE_VIEWS = {
    "apical_4ch": codes.SCT.ApicalFourChamber,
    "apical_2ch": codes.SCT.ApicalTwoChamber,
    "apical_long_axis": codes.SCT.ApicalLongAxis,
}
VOLUMES = {"apical_4ch": "4CMOD", "apical_2ch": "2CMOD"}
PERCENT, PER_SECOND, MILLISECOND, MILLILITRE = (CodedConcept(unit, "UCUM", unit) for unit in ("%", "/s", "ms", "ml"))
_MAKER = "Cardiac Motion Bundles"


def strain_report(studies: Sequence[StudyView], average: float | None = None) -> ComprehensiveSR:
    """The strain of one or several views as one structured report.

    Args:
        studies: of each view ``source`` (its DICOM file), ``view`` (``ApicalView``), ``layer``, ``means`` and
            ``segments`` (rows with ``name``, ``end_systolic``, ``peak``, …; None where not known).
        average: mean end-systolic GLS of the three views, %.
    """
    evidence = [pydicom.dcmread(study.source, stop_before_pixels=True) for study in studies]
    for dataset in evidence:
        complete(dataset)
    known: list[NumContentItem] = []
    segments: list[NumContentItem] = []
    for study, dataset in zip(studies, evidence, strict=True):
        for found, kept in ((global_measurements(study), known), (segment_measurements(study), segments)):
            for item in found:
                item.ContentSequence.append(image(dataset))
            kept.extend(found)
    if average is not None:
        known.append(measurement(codes.DCM.LVEndSystolicGLSMultiviewMeanEndocardial, average, PERCENT, "GLS average"))
    whole = container(
        codes.DCM.AdultEchocardiographyProcedureReport,
        [
            CodeContentItem(codes.DCM.ObserverType, codes.DCM.Device, CONTEXT),
            UIDRefContentItem(codes.DCM.DeviceObserverUID, highdicom.UID(), CONTEXT),
            TextContentItem(codes.DCM.DeviceObserverName, _MAKER, CONTEXT),
            container(codes.DCM.PreCoordinatedMeasurements, known, CONTAINS),
            container(codes.DCM.PostCoordinatedMeasurements, segments, CONTAINS),
            TextContentItem(codes.DCM.Comment, CAUTION, CONTAINS),
            *(
                TextContentItem(codes.DCM.Comment, f"{study.view.short}: {said}", CONTAINS)
                for study in studies
                for said in (*study.manual, *filter(None, [study.banner]))
            ),
        ],
    )
    return ComprehensiveSR(
        evidence=evidence,
        content=whole,
        series_instance_uid=highdicom.UID(),
        series_number=900,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=_MAKER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="LV strain, research only",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )


def complete(dataset: pydicom.Dataset) -> None:
    """Give a source the attributes of patient and study that a report copies, empty where it lacks them."""
    for keyword in (
        "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate",
        "StudyTime", "ReferringPhysicianName",
    ):  # fmt: skip
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not dataset.get(keyword):
            setattr(dataset, keyword, highdicom.UID())


def container(
    concept: Any, items: Sequence[Any], relationship: RelationshipTypeValues | None = None
) -> ContainerContentItem:
    """A container of items; the one without a relationship is the root and names the template."""
    made = ContainerContentItem(
        concept, template_id="5300" if relationship is None else None, relationship_type=relationship
    )
    made.ContentSequence = ContentSequence(items)
    return made


def measurement(
    concept: Any, value: float, unit: CodedConcept, label: str, modifiers: Sequence[tuple[Any, Any]] = ()
) -> NumContentItem:
    """A number with its modifiers and its short label."""
    item = NumContentItem(concept, round(float(value), 2), unit, relationship_type=CONTAINS)
    parts = [CodeContentItem(name, code, MODIFIES) for name, code in modifiers]
    item.ContentSequence = ContentSequence([*parts, TextContentItem(codes.DCM.ShortLabel, label, PROPERTY)])
    return item


def image(dataset: pydicom.Dataset) -> ImageContentItem:
    """The cine as the source of a measurement."""
    return ImageContentItem(
        codes.DCM.SourceOfMeasurement, dataset.SOPClassUID, dataset.SOPInstanceUID, relationship_type=SOURCE
    )


def global_measurements(study: StudyView) -> list[NumContentItem]:
    """GLS, dispersion, volumes and ejection fraction of one view, as pre-coordinated measurements."""
    view = study.view
    chamber, wanted = CHAMBERS[view.name], []
    if study.layer == "endocardium":
        for kind, key in (("EndSystolic", "gls"), ("PeakSystolic", "gls_peak_systolic"), ("Peak", "gls_peak")):
            label = f"GLS {view.short} {kind.lower().replace('systolic', '-systolic').strip('-')}"
            wanted.append((getattr(codes.DCM, f"LV{kind}GLS{chamber}Endocardial"), key, PERCENT, label))
    dispersion = codes.DCM.LVEndSystolicMechanicalDispersion
    wanted.append((dispersion, "mechanical_dispersion_ms", MILLISECOND, f"Dispersion {view.short}"))
    if view.name in VOLUMES:
        disc = f"SinglePlane{VOLUMES[view.name]}"
        for word, key in (("EndDiastolic", "end_diastolic_volume_ml"), ("EndSystolic", "end_systolic_volume_ml")):
            label = f"LV {'EDV' if word == 'EndDiastolic' else 'ESV'} {view.short}"
            wanted.append((getattr(codes.LN, f"LeftVentricular{word}Volume{disc}"), key, MILLILITRE, label))
        fraction = getattr(codes.LN, f"LeftVentricularEjectionFraction{disc}")
        wanted.append((fraction, "ejection_fraction", PERCENT, f"EF {view.short}"))
    known = [(concept, study.means[key], unit, label) for concept, key, unit, label in wanted]
    return [measurement(concept, value, unit, label) for concept, value, unit, label in known if value is not None]


def segment_measurements(study: StudyView) -> list[NumContentItem]:
    """End-systolic and peak strain, time to peak and systolic strain rate of each segment, post-coordinated."""
    property_of = codes.DCM
    kinds = (
        ("ES", "end_systolic", PERCENT, property_of.LongitudinalLagrangianStrain, codes.SCT.EndSystole),
        ("PK", "peak", PERCENT, property_of.PeakLongitudinalLagrangianStrain, codes.DCM.FullCardiacCycle),
        (
            "TTP", "time_to_peak_ms", MILLISECOND, property_of.TimeToPeakLongitudinalLagrangianStrain,
            codes.DCM.FullCardiacCycle,
        ),
        ("SR", "systolic_rate", PER_SECOND, property_of.LongitudinalLagrangianStrainRate, codes.SCT.Systole),
    )  # fmt: skip
    found = []
    for row in study.segments:
        level, wall = row["name"].split()
        keyword = f"LeftVentricle{level.title()}{wall.title()}Segment"
        site = getattr(codes.SCT if hasattr(codes.SCT, keyword) else codes.DCM, keyword)
        for short, key, unit, measured_property, point in kinds:
            if row[key] is None:
                continue
            label = f"{key.removesuffix('_ms').replace('_', ' ')} {row['name']}"
            modifiers = [
                (codes.DCM.MeasurementType, codes.DCM.DirectlyMeasured),
                (codes.SCT.FindingSite, site),
                (codes.DCM.FindingObservationType, codes.DCM.BehaviorOfTheFindingSite),
                (codes.DCM.MeasuredProperty, measured_property),
                (codes.SCT.CardiacCyclePhase, point),
                (codes.SCT.MeasurementMethod, LAYERS[study.layer]),
                (codes.DCM.ImageView, IMAGE_VIEWS[study.view.name]),
            ]
            code = f"{short}-{level[0].upper()}-{WALLS[wall]}"
            found.append(measurement(CodedConcept(code, SCHEME, f"LV {label}"), row[key], unit, label, modifiers))
    return found
