"""Small data sets in the formats in which their publishers ship them, nasty cases included. A new data set adds its writer here."""

from tests.fakes import cross, flickr30k_entities, image_caption_folder, made_scenes

FAKES = {
    "CrossDataset": cross.write,
    "Flickr30kEntities": flickr30k_entities.write,
    "ImageCaptionFolder": image_caption_folder.write,
    "Scenes": made_scenes.write,
}
