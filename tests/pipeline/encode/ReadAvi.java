import ij.ImageStack;
import ij.plugin.AVI_Reader;
import ij.process.ImageProcessor;

/** What ImageJ's own reader, which Fiji has too, makes of an AVI: its size, then the RGB of each picture at some points. */
public class ReadAvi {
    public static void main(String[] words) {
        AVI_Reader reader = new AVI_Reader();
        ImageStack stack = reader.makeStack(words[0], 1, 0, false, false, false);
        if (stack == null) {
            System.err.println(reader.getErrorText());
            System.exit(1);
        }
        System.out.println(stack.getWidth() + " " + stack.getHeight() + " " + stack.getSize());
        for (int number = 1; number <= stack.getSize(); number++) {
            ImageProcessor picture = stack.getProcessor(number);
            StringBuilder line = new StringBuilder();
            for (int word = 1; word < words.length; word += 2) {
                int[] sample = picture.getPixel(Integer.parseInt(words[word]), Integer.parseInt(words[word + 1]), null);
                boolean gray = picture.getBitDepth() == 8;
                line.append(sample[0]).append(' ').append(sample[gray ? 0 : 1]).append(' ').append(sample[gray ? 0 : 2]);
                line.append(' ');
            }
            System.out.println(line.toString().trim());
        }
    }
}
