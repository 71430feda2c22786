"""The seeds of DICOM: small films in every transfer syntax and depth, with headers of many vendors, and real ones."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, JPEGExtended12Bit

from tests.fuzz.seeds import DATA
from tests.support.world import radiograph
from trainer.phantoms.dicom_file import SYNTAXES, dicom_file

#: Elements that no one may see; a reader of headers never returns them.
PLANTED = {"PatientName": "Planted^Name", "PatientBirthDate": "19010101", "AccessionNumber": "PLANTED"}
_UID = "1.2.826.0.1.3680043.8.498.1"


def films():
    """Films of 24 x 20 pixels; the first ones have a plain header, one of each syntax."""
    return [*(film(syntax) for syntax in SYNTAXES), *_depths(), *_headers()]


def film(syntax=ExplicitVRLittleEndian, *, bits=12, **header):
    """One film, 8 bits deep if the syntax holds no more."""
    bits = 8 if syntax == JPEGBaseline8Bit else bits
    return dicom_file(_values(bits), syntax=syntax, **{"BitsStored": bits, "SOPInstanceUID": _UID} | PLANTED | header)


def real_films():
    """Whole real files; empty if their folder is absent."""
    return [path.read_bytes() for path in sorted((DATA / "dicom").glob("*.dcm"))]


def _values(bits):
    gray = radiograph(5, side=24)[:20]
    return gray if bits == 8 else gray.astype(np.uint16) << (bits - 8) | gray >> 4


def _depths():
    for syntax in SYNTAXES:
        if syntax not in (JPEGBaseline8Bit, JPEGExtended12Bit):
            yield film(syntax, bits=16, PhotometricInterpretation="MONOCHROME1")
        yield film(syntax, bits=8, fragments=2, offset_table=False)
    signed = _values(12).view(np.int16) - 2048
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        yield dicom_file(signed, syntax=syntax, preamble=False, SOPInstanceUID=_UID, RescaleSlope=2, RescaleIntercept=9)


def _headers():
    yield film(WindowCenter=[2000, 900], WindowWidth=[3000, 100], VOILUTFunction="SIGMOID")
    yield film(ImplicitVRLittleEndian, WindowCenter=2000, WindowWidth=3000, RescaleSlope="1.5", RescaleIntercept="-9")
    yield film(VOILUTSequence=[_table(4096), _table(256)], ViewPosition="AP", PresentationLUTShape="INVERSE")
    yield film(ModalityLUTSequence=[_table(4096)], VOILUTSequence=[_table(4096)], PixelPaddingValue=0)
    yield film(ImplicitVRLittleEndian, VOILUTSequence=[_table(4096)], PixelPaddingValue=5, PixelPaddingRangeLimit=9)
    yield film(ViewCodeSequence=[Dataset()], SmallestImagePixelValue=3, LargestImagePixelValue=4000, PatientAge="060Y")
    yield film(SpecificCharacterSet=["", "ISO 2022 IR 87"], Manufacturer="Maker", StudyDate="20200131", PatientSex="F")
    yield film(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", BurnedInAnnotation="YES")


def _table(entries):
    table = Dataset()
    table.LUTDescriptor = [entries, 0, 16]
    table["LUTDescriptor"].VR = "US"
    table.LUTData = (np.arange(entries, dtype="<u2") * (65535 // (entries - 1))).tobytes()
    table["LUTData"].VR = "OW"
    return table
